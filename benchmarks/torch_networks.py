"""The peers' networks in PyTorch, layer by layer those of zoo/models: lenet5_modern, resnet_cifar20,
efficientnet_lite0, attention_seq2seq, lstm_seq2seq, show_attend_tell, recurrent_language_model, blstm_ctc,
conv_text_classifier, memory_network, neural_turing_machine, unet and single_shot_detector.
Benchmarks read this file; it needs PyTorch alone.
"""

import torch
from torch import nn
from torch.nn import functional

LITE0 = (
    (1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)  # fmt: skip


def lenet5() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 6, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 120, 5), nn.ReLU(), nn.Flatten(),
        nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip


class Residual(nn.Module):
    def __init__(self, maps: int, filters: int, stride: int):
        super().__init__()
        self.stride, self.more = stride, filters - maps
        self.conv1, self.norm1 = nn.Conv2d(maps, filters, 3, stride, 1, bias=False), nn.BatchNorm2d(filters)
        self.conv2, self.norm2 = nn.Conv2d(filters, filters, 3, 1, 1, bias=False), nn.BatchNorm2d(filters)

    def forward(self, x):
        shortcut = functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.more))
        x = torch.relu(self.norm1(self.conv1(x)))
        return torch.relu(self.norm2(self.conv2(x)) + shortcut)


def resnet20() -> nn.Module:
    parts, maps = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()], 16
    for filters in (16, 32, 64):
        for block in range(3):
            parts.append(Residual(maps, filters, 2 if block == 0 and filters > 16 else 1))
            maps = filters
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


class Inverted(nn.Module):
    def __init__(self, maps: int, filters: int, kernel: int, stride: int, expansion: int):
        super().__init__()
        wide, parts = maps * expansion, []
        if expansion > 1:
            parts = [nn.Conv2d(maps, wide, 1, bias=False), nn.BatchNorm2d(wide), nn.ReLU6()]
        self.around = stride == 1 and maps == filters
        self.parts = nn.Sequential(
            *parts,
            nn.Conv2d(wide, wide, kernel, stride, kernel // 2, groups=wide, bias=False), nn.BatchNorm2d(wide),
            nn.ReLU6(), nn.Conv2d(wide, filters, 1, bias=False), nn.BatchNorm2d(filters),
        )  # fmt: skip

    def forward(self, x):
        return self.parts(x) + x if self.around else self.parts(x)


def lite0() -> nn.Module:
    parts, maps = [nn.Conv2d(3, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU6()], 32
    for count, kernel, stride, expansion, filters in LITE0:
        for block in range(count):
            parts.append(Inverted(maps, filters, kernel, stride if block == 0 else 1, expansion))
            maps = filters
    parts += [nn.Conv2d(320, 1280, 1, bias=False), nn.BatchNorm2d(1280), nn.ReLU6(), nn.AdaptiveAvgPool2d(1)]
    return nn.Sequential(*parts, nn.Flatten(), nn.Dropout(0.2), nn.Linear(1280, 1000))


class AttentionSeq2seq(nn.Module):
    """As zoo/models/language/attention_seq2seq.py: GRUs, additive attention, maxout readout."""

    def __init__(self, vocabulary: int, embedding: int, units: int, encoder: int, attention: int, maxout: int):
        super().__init__()
        self.source = nn.Embedding(vocabulary, embedding)
        self.target = nn.Embedding(vocabulary, embedding)
        self.encoder = nn.GRU(embedding, encoder, batch_first=True, bidirectional=True)
        self.bridge = nn.Linear(encoder, units)
        self.keys = nn.Linear(2 * encoder, attention)
        self.query = nn.Linear(units, attention, bias=False)
        self.energy = nn.Linear(attention, 1, bias=False)
        self.cell = nn.GRUCell(embedding + 2 * encoder, units)
        self.readout = nn.Linear(units + embedding + 2 * encoder, 2 * maxout)
        self.head = nn.Linear(maxout, vocabulary)

    def encode(self, source, length):
        packed = nn.utils.rnn.pack_padded_sequence(self.source(source), length, batch_first=True, enforce_sorted=False)
        outputs, last = self.encoder(packed)
        annotations, _ = nn.utils.rnn.pad_packed_sequence(outputs, batch_first=True)
        mask = torch.arange(annotations.shape[1])[None] < length[:, None]
        return annotations, self.keys(annotations), mask, torch.tanh(self.bridge(last[1]))

    def step(self, embedded, state, annotations, keys, mask):
        fit = self.energy(torch.tanh(self.query(state)[:, None] + keys))[:, :, 0]
        weights = torch.softmax(fit.masked_fill(~mask, -1e9), dim=-1)
        context = torch.bmm(weights[:, None], annotations)[:, 0]
        return self.cell(torch.cat([embedded, context], dim=-1), state), context

    def logits(self, state, embedded, context):
        return self.head(self.readout(torch.cat([state, embedded, context], dim=-1)).unflatten(-1, (2, -1)).amax(-2))

    def forward(self, source, length, target):
        annotations, keys, mask, state = self.encode(source, length)
        embedded, states, contexts = self.target(target), [], []
        for place in range(target.shape[1]):
            states.append(state)
            state, context = self.step(embedded[:, place], state, annotations, keys, mask)
            contexts.append(context)
        return self.logits(torch.stack(states, 1), embedded, torch.stack(contexts, 1))


class LstmSeq2seq(nn.Module):
    """As zoo/models/language/lstm_seq2seq.py; the source comes reversed."""

    def __init__(self, vocabulary: int, embedding: int, units: int, depth: int):
        super().__init__()
        self.source = nn.Embedding(vocabulary, embedding)
        self.target = nn.Embedding(vocabulary, embedding)
        self.encoder = nn.LSTM(embedding, units, depth, batch_first=True)
        self.decoder = nn.LSTM(embedding, units, depth, batch_first=True)
        self.head = nn.Linear(units, vocabulary)

    def forward(self, source, length, target):
        packed = nn.utils.rnn.pack_padded_sequence(self.source(source), length, batch_first=True, enforce_sorted=False)
        return self.head(self.decoder(self.target(target), self.encoder(packed)[1])[0])


class ShowAttendTell(nn.Module):
    """As zoo/models/captioning/show_attend_tell.py, on the annotations (B, 49, 1280) of a grid; tied embeddings."""

    def __init__(self, vocabulary: int, embedding: int, units: int, attention: int, annotation: int):
        super().__init__()
        self.target = nn.Embedding(vocabulary, embedding)
        self.annotations = nn.Linear(1280, annotation)
        self.first_h, self.first_c = nn.Linear(annotation, units), nn.Linear(annotation, units)
        self.keys = nn.Linear(annotation, attention)
        self.query = nn.Linear(units, attention, bias=False)
        self.energy = nn.Linear(attention, 1, bias=False)
        self.gate = nn.Linear(units, 1)
        self.cell = nn.LSTMCell(embedding + annotation, units)
        self.output_state = nn.Linear(units, embedding)
        self.output_context = nn.Linear(annotation, embedding, bias=False)
        self.bias = nn.Parameter(torch.zeros(vocabulary))

    def encode(self, grid):
        annotations = self.annotations(grid)
        mean = annotations.mean(1)
        return annotations, self.keys(annotations), torch.tanh(self.first_h(mean)), torch.tanh(self.first_c(mean))

    def step(self, embedded, h, c, annotations, keys):
        weights = torch.softmax(self.energy(torch.tanh(self.query(h)[:, None] + keys))[:, :, 0], dim=-1)
        context = torch.sigmoid(self.gate(h)) * torch.bmm(weights[:, None], annotations)[:, 0]
        return *self.cell(torch.cat([embedded, context], dim=-1), (h, c)), context

    def logits(self, h, embedded, context):
        deep = embedded + self.output_state(h) + self.output_context(context)
        return functional.linear(deep, self.target.weight, self.bias)

    def forward(self, grid, target):
        annotations, keys, h, c = self.encode(grid)
        embedded, states, contexts = self.target(target), [], []
        for place in range(target.shape[1]):
            h, c, context = self.step(embedded[:, place], h, c, annotations, keys)
            states.append(h)
            contexts.append(context)
        return self.logits(torch.stack(states, 1), embedded, torch.stack(contexts, 1))

    def caption(self, grid, width: int, steps: int, start: int = 1, end: int = 2):
        """Tokens (B, steps) of a beam search without end symbol, so that every search takes all steps."""
        batch = len(grid)
        annotations, keys, h, c = (part.repeat_interleave(width, 0) for part in self.encode(grid))
        total = torch.full((batch, width), -1e9)
        total[:, 0] = 0.0
        tokens, best = torch.full((batch * width,), start), torch.zeros((batch * width, 0), dtype=torch.long)
        first = torch.arange(batch)[:, None] * width
        for _ in range(steps):
            embedded = self.target(tokens)
            h, c, context = self.step(embedded, h, c, annotations, keys)
            chances = torch.log_softmax(self.logits(h, embedded, context), dim=-1)
            chances[:, end] = -1e9
            total, places = (total[:, :, None] + chances.view(batch, width, -1)).flatten(1).topk(width)
            rows = (first + places // chances.shape[-1]).flatten()
            tokens = (places % chances.shape[-1]).flatten()
            h, c, best = h[rows], c[rows], torch.cat([best[rows], tokens[:, None]], dim=1)
        return best.view(batch, width, -1)[:, 0]


def beam_search(model: AttentionSeq2seq, source, length, width: int, steps: int, start: int = 1, end: int = 2):
    """Tokens (B, steps) of a beam search without end symbol, so that every search takes all steps."""
    annotations, keys, mask, state = (part.repeat_interleave(width, 0) for part in model.encode(source, length))
    batch = len(source)
    total = torch.full((batch, width), -1e9)
    total[:, 0] = 0.0
    tokens, best = torch.full((batch * width,), start), torch.zeros((batch * width, 0), dtype=torch.long)
    first = torch.arange(batch)[:, None] * width
    for _ in range(steps):
        embedded = model.target(tokens)
        after, context = model.step(embedded, state, annotations, keys, mask)
        chances = torch.log_softmax(model.logits(state, embedded, context), dim=-1)
        chances[:, end] = -1e9
        scores = (total[:, :, None] + chances.view(batch, width, -1)).flatten(1)
        total, places = scores.topk(width)
        rows = (first + places // chances.shape[-1]).flatten()
        tokens = (places % chances.shape[-1]).flatten()
        state, best = after[rows], torch.cat([best[rows], tokens[:, None]], dim=1)
    return best.view(batch, width, -1)[:, 0]


class LanguageModel(nn.Module):
    """As zoo/models/language/recurrent_language_model.py, with one nn.LSTM, a projection and tied embeddings."""

    def __init__(self, vocabulary: int, embedding: int, units: int):
        super().__init__()
        self.target = nn.Embedding(vocabulary, embedding)
        self.recurrent = nn.LSTM(embedding, units, batch_first=True)
        self.projection = nn.Linear(units, embedding, bias=False)
        self.bias = nn.Parameter(torch.zeros(vocabulary))

    def forward(self, target, state):
        outputs, state = self.recurrent(self.target(target), state)
        return functional.linear(self.projection(outputs), self.target.weight, self.bias), state

    def sample(self, token, state, steps: int, temperature: float):
        """Tokens (B, steps) after `token` (B, 1); none is one of the first four."""
        tokens = []
        for _ in range(steps):
            logits, state = self(token, state)
            logits[..., :4] = -1e9
            token = torch.multinomial(torch.softmax(logits[:, 0] / temperature, dim=-1), 1)
            tokens.append(token)
        return torch.cat(tokens, dim=1)


class SpeechCtc(nn.Module):
    """As zoo/models/speech/blstm_ctc.py with a frame per step; with one direction, as its streaming form."""

    def __init__(self, features: int, symbols: int, units: int, depth: int, two_ways: bool = True):
        super().__init__()
        self.recurrent = nn.LSTM(features, units, depth, batch_first=True, bidirectional=two_ways)
        self.head = nn.Linear(2 * units if two_ways else units, symbols + 1)

    def forward(self, frames, frame_count, state=None):
        """Frames (B, N, D) and their number (B,), or None for whole ones -> logits (B, N, V) and the last state."""
        if frame_count is None:
            outputs, state = self.recurrent(frames, state)
        else:
            packed = nn.utils.rnn.pack_padded_sequence(frames, frame_count, batch_first=True, enforce_sorted=False)
            packed, state = self.recurrent(packed, state)
            outputs, _ = nn.utils.rnn.pad_packed_sequence(packed, batch_first=True)
        return self.head(outputs), state


class ConvText(nn.Module):
    """As zoo/models/text/conv_text_classifier.py: convolutions over words and the maximum over time."""

    def __init__(self, vocabulary: int, classes: int, embedding: int, widths: tuple[int, ...], maps: int):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, embedding)
        self.convolutions = nn.ModuleList(nn.Conv1d(embedding, maps, width, padding=width - 1) for width in widths)
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(len(widths) * maps, classes)

    def forward(self, tokens, count):
        mask = torch.arange(tokens.shape[1])[None] < count[:, None]
        x = (self.embedding(tokens) * mask[:, :, None]).transpose(1, 2)  # (B, D, T)
        maxima = []
        for convolution in self.convolutions:
            windows = torch.relu(convolution(x))  # (B, M, T + W - 1)
            more = convolution.kernel_size[0] - 1
            is_window = torch.arange(windows.shape[2])[None] < count[:, None] + more
            maxima.append(windows.masked_fill(~is_window[:, None], -torch.inf).amax(-1))
        return self.head(self.dropout(torch.cat(maxima, dim=-1)))

    def limit(self, norm: float):
        """Shortens the weights of a class that are longer than `norm`."""
        with torch.no_grad():
            self.head.weight.copy_(self.head.weight.renorm(2, 0, norm))


class MemoryNetwork(nn.Module):
    """As zoo/models/language/memory_network.py, with the vectors of all words of all lines."""

    def __init__(self, vocabulary: int, classes: int, embedding: int, hops: int, memory: int):
        super().__init__()
        self.classes = classes
        self.words = nn.ParameterList(torch.randn(vocabulary, embedding) * 0.1 for _ in range(hops + 1))
        self.times = nn.ParameterList(torch.randn(memory, embedding) * 0.1 for _ in range(hops + 1))

    def position_encoding(self, words):
        """Lines (B, L, J) -> the factors of their words (B, L, J, D), 0 at padding."""
        is_word = (words > 0).float()
        place = is_word.cumsum(-1) / is_word.sum(-1, keepdim=True).clamp(min=1)
        size = self.words[0].shape[1]
        depth = torch.arange(1, size + 1) / size
        factors = 2 * ((1 - place)[..., None] - depth * (1 - 2 * place)[..., None])
        return factors * is_word[..., None]

    def forward(self, story, line_count, question):
        factors, asked = self.position_encoding(story), self.position_encoding(question)
        count = story.shape[1]
        is_line = torch.arange(count)[None] < line_count[:, None]
        state = (functional.embedding(question, self.words[0]) * asked).sum(1)
        lines = [
            (functional.embedding(story, words) * factors).sum(2) + times[:count]
            for words, times in zip(self.words, self.times, strict=True)
        ]  # (B, L, D) each; a hop's output is the input of the next
        for compared, added in zip(lines, lines[1:], strict=False):
            scores = torch.bmm(compared, state[:, :, None])[:, :, 0].masked_fill(~is_line, -1e9)
            state = state + torch.bmm(torch.softmax(scores, dim=-1)[:, None], added)[:, 0]
        return functional.linear(state, self.words[-1][4 : 4 + self.classes])


class TuringMachine(nn.Module):
    """As zoo/models/language/neural_turing_machine.py, with an LSTM and a head of each kind."""

    def __init__(self, width: int, bits: int, units: int, places: int, memory_width: int):
        super().__init__()
        self.sizes = [memory_width, 1, 1, 3, 1]
        self.units, self.places, self.width = units, places, memory_width
        self.controller = nn.Linear(width + 1, 4 * units)
        self.recurrent = nn.Linear(units + memory_width, 4 * units, bias=False)
        self.heads = nn.Linear(units, 2 * sum(self.sizes) + 2 * memory_width)
        self.first_read = nn.Parameter(torch.zeros(memory_width))
        self.first_weights = nn.Parameter(torch.randn(2, places) * 0.05)
        self.output = nn.Linear(units + memory_width, bits)

    def attention(self, memory, before, parameters):
        key, strength, gate, shifts, sharpness = parameters.split(self.sizes, dim=-1)
        similarity = functional.cosine_similarity(torch.tanh(key)[:, :, None], memory[:, None], dim=-1)
        content = torch.softmax(functional.softplus(strength) * similarity, dim=-1)
        gate, shifts = torch.sigmoid(gate), torch.softmax(shifts, dim=-1)
        mixed = before + gate * (content - before)
        moved = sum(shifts[..., place : place + 1] * mixed.roll(place - 1, -1) for place in range(3))
        return torch.softmax((1 + functional.softplus(sharpness)) * torch.log(moved + 1e-16), dim=-1)

    def forward(self, sequence):
        batch = len(sequence)
        memory = torch.full((batch, self.places, self.width), 1e-6)
        weights = torch.softmax(self.first_weights, dim=-1).expand(batch, -1, -1)
        read = torch.tanh(self.first_read).expand(batch, -1)
        h = c = torch.zeros(batch, self.units)
        outputs, products = [], self.controller(sequence)
        for place in range(sequence.shape[1]):
            sums = products[:, place] + self.recurrent(torch.cat([h, read], dim=-1))
            i, f, g, o = sums.chunk(4, dim=-1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
            places, changes = self.heads(h).split([2 * sum(self.sizes), 2 * self.width], dim=-1)
            weights = self.attention(memory, weights, places.unflatten(-1, (2, -1)))
            read = torch.bmm(weights[:, :1], memory)[:, 0]
            erase, add = changes.chunk(2, dim=-1)
            column = weights[:, 1, :, None]
            memory = memory * (1 - column * torch.sigmoid(erase)[:, None]) + column * torch.tanh(add)[:, None]
            outputs.append(torch.cat([h, read], dim=-1))
        return self.output(torch.stack(outputs, 1))


class UNet(nn.Module):
    """As zoo/models/vision/unet.py with padding and batch normalisation."""

    def __init__(self, filters: int, depth: int, classes: int):
        super().__init__()

        def convolutions(maps: int, filters: int) -> nn.Module:
            return nn.Sequential(
                nn.Conv2d(maps, filters, 3, 1, 1, bias=False), nn.BatchNorm2d(filters), nn.ReLU(),
                nn.Conv2d(filters, filters, 3, 1, 1, bias=False), nn.BatchNorm2d(filters), nn.ReLU(),
            )  # fmt: skip

        sizes = [filters * 2**level for level in range(depth + 1)]
        self.down = nn.ModuleList(map(convolutions, [1, *sizes[:-2]], sizes[:-1]))
        self.bottom = convolutions(sizes[-2], sizes[-1])
        self.widen = nn.ModuleList(nn.ConvTranspose2d(2 * size, size, 2, 2) for size in reversed(sizes[:-1]))
        self.up = nn.ModuleList(convolutions(2 * size, size) for size in reversed(sizes[:-1]))
        self.head = nn.Conv2d(filters, classes, 1)

    def forward(self, x):
        before = []
        for level in self.down:
            before.append(level(x))
            x = functional.max_pool2d(before[-1], 2)
        x = self.bottom(x)
        for widen, level in zip(self.widen, self.up, strict=True):
            x = level(torch.cat([before.pop(), widen(x)], dim=1))
        return self.head(x)


class Detector(nn.Module):
    """As zoo/models/vision/single_shot_detector.py on two maps of EfficientNet-Lite0 and one of half the size."""

    def __init__(self, classes: int, shapes: int):
        super().__init__()
        layers = list(lite0())
        self.classes = classes
        self.large, self.expand_large = nn.Sequential(*layers[:8]), layers[8].parts[:3]
        self.small, self.expand_small = nn.Sequential(*layers[8:14]), layers[14].parts[:3]
        self.extra = nn.Sequential(nn.Conv2d(672, 64, 1), nn.ReLU(), nn.Conv2d(64, 128, 3, 2, 1), nn.ReLU())
        self.heads = nn.ModuleList(nn.Conv2d(maps, shapes * classes, 3, 1, 1) for maps in (240, 672, 128))
        self.offsets = nn.ModuleList(nn.Conv2d(maps, shapes * 4, 3, 1, 1) for maps in (240, 672, 128))

    def forward(self, x):
        """(B, 3, H, W) -> logits (B, N, classes) and offsets (B, N, 4) of the default boxes."""
        x = self.large(x)
        large = self.expand_large(x)
        small = self.expand_small(self.small(x))
        maps = (large, small, self.extra(small))

        def joined(layers, size):
            rows = [layer(x).permute(0, 2, 3, 1) for layer, x in zip(layers, maps, strict=True)]
            return torch.cat([row.reshape(len(row), -1, size) for row in rows], dim=1)

        return joined(self.heads, self.classes), joined(self.offsets, 4)

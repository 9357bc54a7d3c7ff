"""The peers' networks in PyTorch, layer by layer those of zoo/models: lenet5_modern, resnet_cifar20,
efficientnet_lite0, attention_seq2seq, lstm_seq2seq, show_attend_tell, recurrent_language_model and blstm_ctc.
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

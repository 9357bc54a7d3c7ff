"""The peers' networks in PyTorch, layer by layer those of zoo/models/vision: lenet5_modern, resnet_cifar20 and
efficientnet_lite0. Benchmarks read this file; it needs PyTorch alone.
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

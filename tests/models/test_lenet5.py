"""LeNet-5 against the paper's table and counts, and against plain NumPy."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import zoo
from zoo.models.vision.lenet5 import (
    C3_TABLE,
    DIGITS,
    RadialBasis,
    Subsampling,
    TableConvolution,
    codes,
    maximum_a_posteriori,
    scaled_tanh,
)

# Table I as it is printed: a row for each map of S2, a column for each map of C3.
TABLE_I = """
X . . . X X X . . X X X X . X X
X X . . . X X X . . X X X X . X
X X X . . . X X X . . X . X X X
. X X X . . X X X X . . X . X X
. . X X X . . X X X X . X X . X
. . . X X X . . X X X X . X X X
"""


@pytest.fixture(scope="module")
def lenet5():
    """With random weights everywhere, biases too."""
    keras.utils.set_random_seed(5)
    model = zoo.create_model("lenet5")
    draw = np.random.default_rng(5)
    for weight in model.trainable_weights:
        weight.assign(draw.uniform(-0.3, 0.3, weight.shape))
    return model


def correlate(x, kernel):
    """Valid correlation in plain loops over the kernel: (B, H, W, C) with (5, 5, C, M) -> (B, H - 4, W - 4, M)."""
    height, width = x.shape[1] - 4, x.shape[2] - 4
    return sum(x[:, i : i + height, j : j + width] @ kernel[i, j] for i in range(5) for j in range(5))


def subsample(x, coefficient, bias):
    height, width = x.shape[1] // 2 * 2, x.shape[2] // 2 * 2
    x = x[:, :height, :width]
    return (x[:, ::2, ::2] + x[:, 1::2, ::2] + x[:, ::2, 1::2] + x[:, 1::2, 1::2]) * coefficient + bias


def table_convolution(x, kernels, bias, table):
    maps, position = [], 0
    for row in table:
        total = 0.0
        for number in row:
            total = total + correlate(x[..., [number]], kernels[:, :, None, None, position])[..., 0]
            position += 1
        maps.append(total)
    return np.stack(maps, axis=-1) + bias


def squash(a):
    return 1.7159 * np.tanh(2 / 3 * a)


def test_table_is_the_printed_one():
    printed = [line.split() for line in TABLE_I.strip().split("\n")]
    columns = [{row for row in range(6) if printed[row][column] == "X"} for column in range(16)]
    assert [set(row) for row in C3_TABLE] == columns
    assert sorted(map(len, C3_TABLE)) == [3] * 6 + [4] * 9 + [6]
    assert sum(map(len, C3_TABLE)) == 60
    assert len(set(map(frozenset, C3_TABLE))) == 16


def test_parameters_of_each_layer(lenet5):
    counts = {layer.name: sum(int(np.prod(w.shape)) for w in layer.trainable_weights) for layer in lenet5.layers}
    counts = {name: count for name, count in counts.items() if count}
    assert counts == {"c1": 156, "s2": 12, "c3": 1516, "s4": 32, "c5": 48120, "head_f6": 10164}
    assert sum(counts.values()) == 60_000
    assert [tuple(w.shape) for w in lenet5.non_trainable_weights] == [(10, 84)]


def test_sizes_of_each_layer(lenet5):
    sizes = {layer.name: layer.output.shape[1:] for layer in lenet5.layers}
    assert sizes["c1"] == (28, 28, 6)
    assert sizes["s2"] == (14, 14, 6)
    assert sizes["c3"] == (10, 10, 16)
    assert sizes["s4"] == (5, 5, 16)
    assert sizes["c5"] == (1, 1, 120)
    assert sizes["head_f6"] == (84,)


def test_whole_network_equals_numpy(lenet5):
    x = np.random.default_rng(1).uniform(-0.1, 1.175, (3, 32, 32, 1))
    get = {layer.name: [w.numpy().astype("float64") for w in layer.weights] for layer in lenet5.layers}
    want = squash(correlate(x, get["c1"][0]) + get["c1"][1])
    want = squash(subsample(want, *get["s2"]))
    want = squash(table_convolution(want, *get["c3"], C3_TABLE))
    want = squash(subsample(want, *get["s4"]))
    want = squash(correlate(want, get["c5"][0]) + get["c5"][1]).reshape(3, 120)
    want = squash(want @ get["head_f6"][0] + get["head_f6"][1])
    want = -((want[:, None, :] - codes(10)[None]) ** 2).sum(axis=-1)
    got = lenet5({"image": tf.constant(x, tf.float32)}).numpy()
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=2e-3)  # distances of about 200, from six layers of float32


@pytest.mark.parametrize("shape", [(2, 6, 8, 3), (1, 7, 5, 2), (2, 2, 2, 1)])
def test_subsampling_equals_numpy(shape):
    draw = np.random.default_rng(2)
    layer = Subsampling()
    layer.build(shape)
    x, coefficient, bias = draw.normal(size=shape), draw.normal(size=shape[-1]), draw.normal(size=shape[-1])
    layer.set_weights([coefficient, bias])
    got = layer(tf.constant(x, tf.float32)).numpy()
    assert got.shape == layer.compute_output_shape(shape)
    np.testing.assert_allclose(got, subsample(x, coefficient, bias), atol=1e-5)


@pytest.mark.parametrize("table", [C3_TABLE, ((2, 0), (1,), (0, 1, 2, 3, 4, 5))])
def test_table_convolution_equals_numpy(table):
    draw = np.random.default_rng(3)
    layer = TableConvolution(table)
    layer.build((None, 14, 14, 6))
    connections = sum(map(len, table))
    x, kernels = draw.normal(size=(2, 9, 11, 6)), draw.normal(size=(5, 5, connections)) / 10
    bias = draw.normal(size=len(table))
    layer.set_weights([kernels, bias])
    got = layer(tf.constant(x, tf.float32)).numpy()
    assert got.shape == (2, 5, 7, len(table)) == layer.compute_output_shape((2, 9, 11, 6))
    np.testing.assert_allclose(got, table_convolution(x, kernels, bias, table), atol=1e-5)


def test_table_convolution_starts_by_each_units_inputs():
    layer = TableConvolution(C3_TABLE)
    layer.build((None, 14, 14, 6))
    kernels, position = layer.kernels.numpy(), 0
    for row in C3_TABLE:
        own = np.abs(kernels[:, :, position : position + len(row)])
        bound = 2.4 / (25 * len(row))
        assert 0.8 * bound < own.max() <= bound
        position += len(row)
    assert len(np.unique(kernels)) > 1400  # no two connections start alike


def test_table_convolution_refuses_a_map_that_is_not_there():
    with pytest.raises(ValueError, match="table must have numbers below 3"):
        TableConvolution(((0, 1), (3,))).build((None, 8, 8, 3))


def test_radial_basis_equals_numpy():
    layer = RadialBasis(7)
    layer.build((None, 84))
    assert layer.trainable_weights == []
    centres, x = np.random.default_rng(4).normal(size=(7, 84)), np.random.default_rng(5).normal(size=(5, 84))
    np.testing.assert_array_equal(layer.codes.numpy(), codes(7))
    layer.set_weights([centres])
    want = -((x[:, None] - centres[None]) ** 2).sum(axis=-1)
    np.testing.assert_allclose(layer(tf.constant(x, tf.float32)).numpy(), want, rtol=1e-5)


def test_maximum_a_posteriori_equals_equation_9():
    draw = np.random.default_rng(6)
    distances, classes = draw.uniform(0, 8, (20, 10)), draw.integers(0, 10, 20)
    want = distances[np.arange(20), classes] + np.log(np.exp(-0.1) + np.exp(-distances).sum(axis=1))
    for y in (classes, classes[:, None], classes.astype("float32")):
        got = maximum_a_posteriori(tf.constant(y), tf.constant(-distances, tf.float32)).numpy()
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)
    far = maximum_a_posteriori(tf.constant([0]), tf.fill((1, 10), -1e4)).numpy()
    np.testing.assert_allclose(far, [1e4 - 0.1], rtol=1e-6)  # the class of rubbish bounds the penalty


def test_scaled_tanh():
    points = np.array([1.0, -1.0, 0.0, 0.3, 50.0])
    got = scaled_tanh(tf.constant(points, tf.float32)).numpy()
    np.testing.assert_allclose(got, squash(points), atol=1e-6)
    np.testing.assert_allclose(got[:3], [1.0, -1.0, 0.0], atol=1e-4)


def test_codes_are_signs_and_apart():
    hundred = codes(100)
    assert hundred.shape == (100, 84)
    assert set(np.unique(hundred)) == {-1.0, 1.0}
    apart = (hundred[:, None] != hundred[None]).sum(axis=-1) + 84 * np.eye(100, dtype=int)
    assert apart[:10, :10].min() == 5  # 3 and 8
    assert np.unravel_index(apart[:10, :10].argmin(), (10, 10)) == (3, 8)
    assert apart[10:].min() == 21  # of the random ones, to any other


@pytest.mark.parametrize("classes", [1, 3, 10, 11, 47])
def test_a_code_does_not_depend_on_the_number_of_classes(classes):
    np.testing.assert_array_equal(codes(classes), codes(100)[:classes])


def test_drawn_digits():
    """Seven wide, twelve high; the digits' holes, and what a mirror makes of them."""
    rows = [line.split() for line in DIGITS.strip().split("\n")]
    assert len(rows) == 12
    assert {len(drawing) for row in rows for drawing in row} == {7}
    assert {len(row) for row in rows} == {10}
    pictures = codes(10).reshape(10, 12, 7) > 0
    assert [holes(picture) for picture in pictures] == [1, 0, 0, 0, 1, 0, 1, 0, 2, 1]
    for symmetric in (0, 8):
        np.testing.assert_array_equal(pictures[symmetric], pictures[symmetric][:, ::-1])
    for full in (0, 2, 3, 5, 6, 8, 9):  # these fill their frame
        assert pictures[full].any(axis=0).all()
        assert pictures[full].any(axis=1).all()


def holes(picture) -> int:
    """Regions of paper, joined at sides, that don't reach the frame."""
    paper = np.pad(~picture, 1, constant_values=True)
    regions, todo = 0, {tuple(place) for place in np.argwhere(paper)}
    while todo:
        regions, front = regions + 1, [todo.pop()]
        while front:
            row, column = front.pop()
            near = {(row + 1, column), (row - 1, column), (row, column + 1), (row, column - 1)} & todo
            todo -= near
            front.extend(near)
    return regions - 1


def test_a_hundred_classes_keep_their_codes_in_a_preset(tmp_path):
    model = zoo.create_model("lenet5", classes=100)
    layer = model.get_layer("head_codes")
    np.testing.assert_array_equal(layer.codes.numpy(), codes(100))
    changed = codes(100)[::-1].copy()  # what a later version might draw otherwise must come from the file
    layer.codes.assign(changed)
    zoo.save(model, tmp_path / "hundred")
    np.testing.assert_array_equal(zoo.load(tmp_path / "hundred").get_layer("head_codes").codes.numpy(), changed)


def test_fresh_head_gets_its_codes_and_the_rest_stays(tmp_path):
    model = zoo.create_model("lenet5")
    zoo.save(model, tmp_path / "ten")
    wider = zoo.load(tmp_path / "ten", classes=12)
    np.testing.assert_array_equal(wider.get_layer("head_codes").codes.numpy(), codes(12))
    np.testing.assert_allclose(
        wider.get_layer("c5").get_weights()[0], model.get_layer("c5").get_weights()[0], atol=1e-3
    )


def test_training_moves_no_code(lenet5):
    x = np.random.default_rng(7).uniform(0, 1, (8, 32, 32, 1)).astype("float32")
    model = zoo.create_model("lenet5")
    model.compile("adam", maximum_a_posteriori)
    losses = model.fit({"image": x}, np.arange(8), epochs=8, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    np.testing.assert_array_equal(model.get_layer("head_codes").codes.numpy(), codes(10))


def test_modern():
    model = zoo.create_model("lenet5_modern")
    counts = {layer.name: layer.count_params() for layer in model.layers if layer.count_params()}
    assert counts == {"c1": 156, "c3": 2416, "c5": 48120, "f6": 10164, "head": 850}
    assert model.count_params() == 61_706
    x = np.random.default_rng(8).uniform(0, 1, (2, 32, 32, 1))
    get = {layer.name: [w.numpy() for w in layer.weights] for layer in model.layers}

    def pool(x):
        return np.maximum(np.maximum(x[:, ::2, ::2], x[:, 1::2, ::2]), np.maximum(x[:, ::2, 1::2], x[:, 1::2, 1::2]))

    want = pool(np.maximum(correlate(x, get["c1"][0]) + get["c1"][1], 0))
    want = pool(np.maximum(correlate(want, get["c3"][0]) + get["c3"][1], 0))
    want = np.maximum(correlate(want, get["c5"][0]) + get["c5"][1], 0).reshape(2, 120)
    want = np.maximum(want @ get["f6"][0] + get["f6"][1], 0) @ get["head"][0] + get["head"][1]
    np.testing.assert_allclose(model({"image": tf.constant(x, tf.float32)}).numpy(), want, atol=1e-5)


@pytest.mark.parametrize(("name", "width"), [("lenet5", 120), ("lenet5_modern", 84)])
def test_without_classes_it_embeds(name, width):
    assert zoo.create_model(name, classes=0).output.shape == (None, width)


@pytest.mark.parametrize("name", ["lenet5", "lenet5_modern"])
@pytest.mark.parametrize("size", [(31, 32, 1), (32, 31, 1), (28, 28, 1)])
def test_too_small_a_picture_is_refused(name, size):
    with pytest.raises(ValueError, match="32x32 or more"):
        zoo.create_model(name, input_shape=size)

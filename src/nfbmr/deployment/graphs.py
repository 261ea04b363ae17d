"""Graph files: from torch's detector to ONNX, and to smaller or coarser forms of that.

Shapes: N = images, H W = the model's size in pixels, K = raw maps, H' W' = grid of the maps.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nfbmr.deployment.numbers import IMAGES, for_any_number
from nfbmr.deployment.quiet import quiet
from nfbmr.errors import ExportError, MissingExtraError
from nfbmr.networks.detector import Detector
from nfbmr.networks.folding import copied
from nfbmr.system.packages import how_to_install

if TYPE_CHECKING:
    from onnx import ModelProto

_log = logging.getLogger(__name__)

_OPSET = 18
_MOST_IMAGES = 4096  # in one batch: torch.export wants a bound


def write_graph(detector: Detector, size: tuple[int, int], path: Path) -> None:
    """Writes the detector as ONNX: `pixels` uint8 (N, H, W, 3) -> `maps` float32 (N, K, H', W').

    Args:
        detector: left as it is.
        size: (H, W).
        path: of the file.

    Raises:
        MissingExtraError: torch's exporter is not installed.
        ExportError: the network cannot be expressed in ONNX.
    """
    pixels = torch.zeros(1, *size, 3, dtype=torch.uint8)
    _write(_deployed(detector), pixels, ("pixels", "maps"), path)


def write_source(detector: Detector, size: tuple[int, int], path: Path) -> None:
    """Writes SNN alone: `pixels` uint8 (N, H, W, 3) -> `y` float32 (N, C', H', W').

    Args and errors as of `write_graph`.
    """
    pixels = torch.zeros(1, *size, 3, dtype=torch.uint8)
    source = _deployed(detector).source
    assert isinstance(source, nn.Module), "this SNN is a graph already"
    _write(source, pixels, ("pixels", "y"), path)


def write_rest(detector: Detector, size: tuple[int, int], path: Path) -> None:
    """Writes what follows SNN: `y` float32 (N, C', H', W') -> `maps` float32 (N, K, H', W').

    Args and errors as of `write_graph`.
    """
    y = torch.zeros(1, detector.source.outputs, *detector.source.grid(size))
    _write(_Rest(detector).eval(), y, ("y", "maps"), path)


def join(source: Path, rest: Path, path: Path, *, features: bool = False) -> None:
    """Writes SNN and what follows it as one graph, `pixels` -> `maps`.

    Args:
        source: as of `write_source`.
        rest: as of `write_rest`.
        path: of the new file.
        features: give `y` (N, C', H', W'), too.

    Raises:
        MissingExtraError: onnx is not installed.
    """
    _need("onnx")
    import onnx
    from onnx import compose

    first, second = onnx.load(source), onnx.load(rest)
    second = compose.add_prefix(second, "rest/", rename_inputs=False, rename_outputs=False)
    second.ir_version = first.ir_version
    outputs = ["y", "maps"] if features else ["maps"]
    model = compose.merge_models(first, second, io_map=[("y", "y")], outputs=outputs)
    onnx.save(model, path)


class _Rest(nn.Module):
    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, y: Tensor) -> Tensor:
        """Maps y (N, C', H', W') to raw maps (N, K, H', W')."""
        return self.detector.maps(y.permute(0, 2, 3, 1))


def _deployed(detector: Detector) -> Detector:
    """Returns a copy whose activations make new tensors.

    A graph has no other kind, and the exporter takes a third less time than for those in place.
    """
    found = copied(detector).eval().ready(torch.device("cpu")).requires_grad_(False)
    for part in found.modules():
        if "inplace" in vars(part):
            vars(part)["inplace"] = False
    return found


def _write(module: nn.Module, example: Tensor, names: tuple[str, str], path: Path) -> None:
    """Writes a module of one input (N, ...); the example (1, ...) says how long the rest is.

    Raises:
        MissingExtraError, ExportError: as `write_graph`.
    """
    _need("onnx", "onnxscript")
    import onnx

    try:
        with quiet():
            try:
                model = _of_many(module, example, names)
            except Exception as error:  # the slow way may still go
                _log.debug("Not written for a fixed number of images: %s", error)
                model = _of_any(module, example, names)
            onnx.save(without_origins(model), path)
    except Exception as error:  # a network may fail in any way on its way to ONNX
        raise ExportError(
            f"the network cannot be written as ONNX ({_brief(error)}); "
            "inspect with torch, or choose another backbone"
        ) from error


def _of_many(module: nn.Module, example: Tensor, names: tuple[str, str]) -> ModelProto:
    """Exports for one number of images, and leaves that open afterwards."""
    from onnxscript import optimizer

    model = _exported(module, example.expand(IMAGES, *example.shape[1:]), names, optimize=False)
    for_any_number(model)
    optimizer.fold_constants(model)  # what else can be spared, runtimes find as they open it
    optimizer.remove_unused_nodes(model)
    return model


def _of_any(module: nn.Module, example: Tensor, names: tuple[str, str]) -> ModelProto:
    """Exports for any number of images, which torch follows: nearly twice the time."""
    shapes = ({0: torch.export.Dim("n", min=1, max=_MOST_IMAGES)},)
    two = torch.cat([example, example])  # one would be a constant
    return _exported(module, two, names, dynamic_shapes=shapes)


def _exported(
    module: nn.Module, example: Tensor, names: tuple[str, str], **options: Any
) -> ModelProto:
    program = torch.onnx.export(
        module,
        (example,),
        input_names=[names[0]],
        output_names=[names[1]],
        opset_version=_OPSET,
        dynamo=True,
        verbose=False,
        **options,
    )
    assert program is not None
    return program.model_proto


def without_origins(message: Any) -> Any:
    """Returns an ONNX model, or a part of one, that no longer says which lines of code made it.

    torch's exporter notes its stack at each node, with the paths of the machine that exports.
    """
    for field, value in message.ListFields():
        if field.name in ("doc_string", "metadata_props"):
            message.ClearField(field.name)
        elif field.message_type is not None:
            for part in [value] if hasattr(value, "ListFields") else value:
                without_origins(part)
    return message


def halve(graph: Path, path: Path) -> None:
    """Writes a graph whose weights are kept in half precision and computed with in single.

    Args:
        graph: in single precision.
        path: of the new file, half as large.

    Raises:
        MissingExtraError: onnx is not installed.
        ExportError: a weight is too large for half precision.
    """
    _need("onnx")
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load(graph)
    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or np.prod(tensor.dims) < 1024:
            continue
        values = numpy_helper.to_array(tensor)
        with np.errstate(over="ignore"):
            half = values.astype(np.float16)
        if not np.isfinite(half).all():
            raise ExportError(
                f"weight '{tensor.name}' reaches {np.abs(values).max():.3g}, more than half "
                "precision holds (65504); export with fp32"
            )
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(half, f"{name}.half"))
        casts.append(helper.make_node("Cast", [tensor.name], [name], to=TensorProto.FLOAT))
    for place, node in enumerate(casts):
        model.graph.node.insert(place, node)
    onnx.save(model, path)


def quantise(graph: Path, path: Path, pixels: NDArray[np.uint8]) -> None:
    """Writes a graph whose convolutions, and what joins and bounds them, run in 8-bit integers.

    Args:
        graph: in single precision.
        path: of the new file.
        pixels: (N, H, W, 3) of good pictures, which set the ranges.

    Raises:
        MissingExtraError: onnx is not installed.
    """
    _need("onnx", "onnxruntime")
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Good(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left: Iterator[NDArray[np.uint8]] = iter(pixels)

        def get_next(self) -> dict[str, Any] | None:
            image = next(self.left, None)
            return None if image is None else {"pixels": image[None]}

    prepared = path.with_suffix(".prepared")
    with quiet():
        quant_pre_process(str(graph), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared),
            str(path),
            Good(),
            per_channel=True,
            op_types_to_quantize=["Conv", "Add", "Clip", "Relu"],
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
    prepared.unlink()


def _need(*packages: str) -> None:
    from importlib.util import find_spec

    if missing := [package for package in packages if find_spec(package) is None]:
        raise MissingExtraError(
            f"{', '.join(missing)} not installed; an export needs it; {how_to_install('train')}"
        )


def _brief(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return text[0][:200] if text else type(error).__name__

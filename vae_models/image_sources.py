"""Where the images of a training step come from: the device itself, or main memory."""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import final

import torch
from jaxtyping import Int, Shaped
from torch import Tensor

from vae_models.data import DataSet

__all__ = ["ImageSource", "ResidentImages", "StreamedImages", "placed", "source_of"]

_AHEAD = 2  # steps that are on their way
_SHARE_OF_MEMORY = 0.5  # of what is free on the device


class ImageSource(ABC):
    """Gives the training examples of each step, as they are stored, on a device."""

    @abstractmethod
    def steps(
        self, order: Int[Tensor, "step row batch"]
    ) -> Iterator[Shaped[Tensor, "row batch channel height width"]]:
        """The examples of each step of an epoch.

        Args:
            order: Their indices, on the CPU.
        """


@final
class ResidentImages(ImageSource):
    """All training examples lie on the device, in the compact type in which they are stored.

    Args:
        data: The data.
        device: Of the training.
    """

    def __init__(self, data: DataSet, device: torch.device) -> None:
        self._train = data.train.to(device)

    def steps(
        self, order: Int[Tensor, "step row batch"]
    ) -> Iterator[Shaped[Tensor, "row batch channel height width"]]:
        """Chosen on the device."""
        for indices in order.to(self._train.device):
            chosen = self._train.index_select(0, indices.flatten())
            yield chosen.view(*indices.shape, *chosen.shape[1:])


@final
class StreamedImages(ImageSource):
    """The training examples stay in main memory; those of the next steps travel beside the work.

    A thread gathers them into pinned memory and copies them on a stream of its own, so that
    neither the host nor the device waits.

    Args:
        data: The data, on the CPU.
        device: Of the training.
    """

    def __init__(self, data: DataSet, device: torch.device) -> None:
        self._train = data.train
        self._device = device
        self._stream: torch.cuda.Stream | None = None
        if device.type == "cuda":
            self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def steps(
        self, order: Int[Tensor, "step row batch"]
    ) -> Iterator[Shaped[Tensor, "row batch channel height width"]]:
        """Two steps ahead of the training."""
        on_their_way: deque[Future[tuple[Tensor, torch.cuda.Event | None]]] = deque()
        with ThreadPoolExecutor(1, thread_name_prefix="images") as thread:
            try:
                for indices in order:
                    on_their_way.append(thread.submit(self._fetched, indices))
                    if len(on_their_way) > _AHEAD:
                        yield self._arrived(on_their_way.popleft())
                while on_their_way:
                    yield self._arrived(on_their_way.popleft())
            finally:
                thread.shutdown(cancel_futures=True)

    def _fetched(
        self, indices: Int[Tensor, "row batch"]
    ) -> tuple[Tensor, torch.cuda.Event | None]:
        """The examples, and what marks that they have arrived."""
        chosen = self._train.index_select(0, indices.flatten())
        chosen = chosen.view(*indices.shape, *chosen.shape[1:])
        if self._stream is None:
            return chosen.to(self._device), None
        with torch.cuda.stream(self._stream):
            images = chosen.pin_memory().to(self._device, non_blocking=True)
            return images, self._stream.record_event()

    def _arrived(self, fetched: Future[tuple[Tensor, torch.cuda.Event | None]]) -> Tensor:
        """What was fetched, for use on the stream of the training."""
        images, arrival = fetched.result()
        if arrival is not None:
            training = torch.cuda.current_stream(self._device)
            training.wait_event(arrival)
            images.record_stream(training)
        return images


def source_of(data: DataSet, device: torch.device) -> ImageSource:
    """Resident images where they take at most half of a GPU's free memory, else streamed ones."""
    return ResidentImages(data, device) if _fits(data, device) else StreamedImages(data, device)


def placed(data: DataSet, device: torch.device) -> DataSet:
    """The data set on the device; left where it is if its training examples are to be streamed."""
    return data.to(device) if _fits(data, device) else data


def _fits(data: DataSet, device: torch.device) -> bool:
    if device.type != "cuda" or data.train.device.type != "cpu":
        return True
    free, _ = torch.cuda.mem_get_info(device)
    return data.train.nbytes <= _SHARE_OF_MEMORY * free

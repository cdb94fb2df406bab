"""The figures of a report in their order, each with its words, drawn one at a time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, final

from matplotlib.figure import Figure

from reports import (
    front_figure,
    front_plane,
    hypervolume_figure,
    latents_figure,
    reconstructions_figure,
    samples_figure,
    settings_figure,
    training_figure,
    traversals_figure,
)
from reports.beta_scale import beta_scale_of
from reports.dossier import Dossier

_TITLES: Final = {
    "front": "The rate–distortion front",
    "settings": "What each setting does",
    "hypervolume": "Progress of the search",
    "training": "Training of the front trials",
    "latents": "Use of the latents",
    "reconstructions": "Reconstructions along the front",
    "samples": "Samples from the prior along the front",
    "traversals": "What the latents draw",
}


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Illustration:
    """A figure with its caption and alternative text, or the reason why there is none."""

    name: str
    figure: Figure | None
    caption: str
    alt: str = ""

    def title(self) -> str:
        """Returns the heading under which the figure stands."""
        return _TITLES[self.name]


def illustrations(dossier: Dossier) -> Iterator[Illustration]:
    """Yields every figure of a report, drawn when it is asked for."""
    yield _front(dossier)
    yield _settings(dossier)
    yield _hypervolume(dossier)
    yield _training(dossier)
    yield _latents(dossier)
    yield _reconstructions(dossier)
    yield _samples(dossier)
    yield _traversals(dossier)


def _front(dossier: Dossier) -> Illustration:
    if dossier.refusal is not None:
        return Illustration(name="front", figure=None, caption=dossier.refusal)
    plane = front_plane.front_plane(dossier)
    return Illustration(
        name="front",
        figure=front_figure.draw_front(plane),
        caption=front_plane.caption_of(plane),
        alt=front_plane.alt_of(plane),
    )


def _settings(dossier: Dossier) -> Illustration:
    if dossier.refusal is not None:
        return Illustration(name="settings", figure=None, caption=dossier.refusal)
    panels = settings_figure.setting_panels(dossier)
    if not panels.panels:
        return Illustration(
            name="settings",
            figure=None,
            caption="The trials differ in numbers only: no setting with a few named values varies.",
        )
    return Illustration(
        name="settings",
        figure=settings_figure.draw_settings(panels),
        caption=settings_figure.caption_of(panels),
        alt=settings_figure.alt_of(panels),
    )


def _hypervolume(dossier: Dossier) -> Illustration:
    if dossier.refusal is not None:
        return Illustration(name="hypervolume", figure=None, caption=dossier.refusal)
    growth = hypervolume_figure.hypervolume_growth(dossier)
    if not growth.numbers:
        return Illustration(
            name="hypervolume", figure=None, caption="It starts with the first finished trial."
        )
    return Illustration(
        name="hypervolume",
        figure=hypervolume_figure.draw_hypervolume(growth),
        caption=hypervolume_figure.caption_of(growth),
        alt=hypervolume_figure.alt_of(growth),
    )


def _training(dossier: Dossier) -> Illustration:
    curves = training_figure.training_curves(dossier)
    if not curves.front and not curves.collapsed:
        return Illustration(
            name="training",
            figure=None,
            caption="It needs a trial on the front with at least one stored epoch.",
        )
    scale = beta_scale_of(trial.beta for trial in dossier.measured())
    return Illustration(
        name="training",
        figure=training_figure.draw_training(curves, scale),
        caption=training_figure.caption_of(curves),
        alt=training_figure.alt_of(curves),
    )


def _latents(dossier: Dossier) -> Illustration:
    latents = latents_figure.latent_map(dossier)
    if not latents.uses:
        return Illustration(
            name="latents",
            figure=None,
            caption="It needs a trial on the front with its latents stored.",
        )
    return Illustration(
        name="latents",
        figure=latents_figure.draw_latents(latents),
        caption=latents_figure.caption_of(latents),
        alt=latents_figure.alt_of(latents),
    )


def _reconstructions(dossier: Dossier) -> Illustration:
    pictures = reconstructions_figure.reconstructions(dossier)
    if not pictures.rows:
        caption = _why_no_pictures(pictures.unreadable)
        return Illustration(name="reconstructions", figure=None, caption=caption)
    return Illustration(
        name="reconstructions",
        figure=reconstructions_figure.draw_reconstructions(pictures),
        caption=reconstructions_figure.caption_of(pictures),
        alt=reconstructions_figure.alt_of(pictures),
    )


def _samples(dossier: Dossier) -> Illustration:
    pictures = samples_figure.samples(dossier)
    if not pictures.rows:
        caption = _why_no_pictures(pictures.unreadable)
        return Illustration(name="samples", figure=None, caption=caption)
    return Illustration(
        name="samples",
        figure=samples_figure.draw_samples(pictures),
        caption=samples_figure.caption_of(pictures),
        alt=samples_figure.alt_of(pictures),
    )


def _traversals(dossier: Dossier) -> Illustration:
    pictures = traversals_figure.traversals(dossier)
    if not pictures.rows:
        caption = "No front trial with an active latent has stored traversals."
        return Illustration(name="traversals", figure=None, caption=caption)
    return Illustration(
        name="traversals",
        figure=traversals_figure.draw_traversals(pictures),
        caption=traversals_figure.caption_of(pictures),
        alt=traversals_figure.alt_of(pictures),
    )


def _why_no_pictures(unreadable: Sequence[int]) -> str:
    if unreadable:
        return "The stored pictures of the front trials cannot be read."
    return (
        "No front trial has stored pictures of this kind: the data are no images, or no trial is "
        "complete yet."
    )

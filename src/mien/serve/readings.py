"""The API's answers as types, for its OpenAPI document. The values are those of `mien.records`."""

from typing import Any

from pydantic import BaseModel, Field

__all__ = ["ErrorReading", "FaceReading", "HealthReading", "ModelReading", "Reading"]


class FaceReading(BaseModel):
    """One recognised face."""

    box: tuple[float, float, float, float] = Field(
        description="left, top, width and height in pixels of the upright picture"
    )
    detection: float | None = Field(
        description="the detector's score, 0..1; null: the picture was taken whole"
    )
    emotion: str
    confidence: float = Field(description="the probability of `emotion`, 0..1")
    probabilities: dict[str, float] = Field(description="of each emotion; they sum to 1")


class Reading(BaseModel):
    """What was seen in one picture, as a line of `mien predict --json`."""

    source: str
    frame: int
    time_s: float
    width: int = Field(description="pixels, after turning the picture upright")
    height: int
    faces: list[FaceReading] = Field(description="left to right")
    error: str | None = Field(description="the reason where it could not be read")


class ErrorReading(BaseModel):
    """Why there is no answer: one line."""

    error: str


class ModelReading(BaseModel):
    """A model that the server has open."""

    name: str
    default: bool = Field(description="whether it answers where no model is named")
    labels: tuple[str, ...]
    card: dict[str, Any] = Field(description="its origin and figures, as in its file")


class HealthReading(BaseModel):
    """That the server answers, and what it is doing."""

    status: str
    version: str
    streams: int = Field(description="open now")

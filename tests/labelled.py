"""Files as labelling tools export them, each for one folder of images; boxes in pixels."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

__all__ = [
    "Shape",
    "cvat_image",
    "labelme_file",
    "studio_task",
    "via_image",
    "write_coco",
    "write_cvat",
]

Shape = tuple[str, Sequence[float]]
"""What it is called, and its left, top, right and bottom edge."""


def labelme_file(
    path: Path, shapes: Iterable[Shape], *, flags: Sequence[str] = (), side: int = 40, **own: Any
) -> None:
    """Write a file of Labelme's beside its image; `own` is added to each shape."""
    drawn = [
        {
            "label": name,
            "points": [[left, top], [right, bottom]],
            "group_id": None,
            "description": "",
            "shape_type": "rectangle",
            "flags": {},
            "mask": None,
            **own,
        }
        for name, (left, top, right, bottom) in shapes
    ]
    about = {
        "version": "5.5.0",
        "flags": {"blurred": False, **dict.fromkeys(flags, True)},
        "shapes": drawn,
        "imagePath": f"..\\elsewhere\\{path.stem}.png",
        "imageData": None,
        "imageHeight": side,
        "imageWidth": side,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(about, indent=2), encoding="utf-8")


def cvat_image(
    name: str, shapes: Iterable[Shape], *, subset: str = "", tags: str = "", side: int = 40
) -> str:
    """Return an image as CVAT's XML has it; shapes may have their attributes behind ``|``."""
    drawn = "".join(
        f'<box label="{called.partition("|")[0]}" source="manual" occluded="0" xtl="{left:.2f}" '
        f'ytl="{top:.2f}" xbr="{right:.2f}" ybr="{bottom:.2f}" z_order="0">'
        f"{called.partition('|')[2]}</box>"
        for called, (left, top, right, bottom) in shapes
    )
    of_subset = f'subset="{subset}" ' if subset else ""
    about = f'id="0" name="{name}" {of_subset}width="{side}" height="{side}"'
    return f"<image {about}>{drawn}{tags}</image>"


def write_cvat(path: Path, *images: str) -> None:
    """Write a file of CVAT's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    begins = '<?xml version="1.0" encoding="utf-8"?>\n<annotations>'
    meta = "<version>1.1</version><meta><job><id>1</id></job></meta>"
    path.write_text(f"{begins}{meta}{''.join(images)}</annotations>\n", encoding="utf-8")


def studio_task(address: str, *opinions: Iterable[Any], side: int = 40) -> dict[str, Any]:
    """Return a task of Label Studio's JSON; each annotator has choices (text) and shapes."""
    return {
        "id": 1,
        "file_upload": address.rpartition("/")[2],
        "data": {"image": address},
        "meta": {},
        "predictions": [{"result": [{"type": "choices", "value": {"choices": ["Contempt"]}}]}],
        "annotations": [
            {
                "id": number,
                "completed_by": number,
                "was_cancelled": False,
                "ground_truth": False,
                "result": [_studio_result(each, n, side) for n, each in enumerate(said)],
            }
            for number, said in enumerate(opinions)
        ],
    }


def _studio_result(said: Any, number: int, side: int) -> dict[str, Any]:
    about = {"id": f"r{number}", "to_name": "image", "origin": "manual"}
    if isinstance(said, str):
        choice = {"type": "choices", "from_name": "emotion", "value": {"choices": [said]}}
        return about | choice
    name, (left, top, right, bottom) = said
    x, y, width, height = (100 * each / side for each in (left, top, right - left, bottom - top))
    return about | {
        "type": "rectanglelabels",
        "from_name": "face",
        "original_width": side,
        "original_height": side,
        "image_rotation": 0,
        "value": {
            "x": x,
            "y": y,
            "width": width,
            "height": height,
            "rotation": 0,
            "rectanglelabels": [name],
        },
    }


def via_image(name: str, shapes: Iterable[Shape], **about: Any) -> dict[str, Any]:
    """Return an image of VIA's annotations by its key; `about` are its own attributes."""
    regions = [
        {
            "shape_attributes": {
                "name": "rect",
                "x": left,
                "y": top,
                "width": right - left,
                "height": bottom - top,
            },
            "region_attributes": {"emotion": called},
        }
        for called, (left, top, right, bottom) in shapes
    ]
    image = {"filename": name, "size": 77, "regions": regions, "file_attributes": about}
    return {f"{name}77": image}


def write_coco(path: Path, **changed: Any) -> None:
    about: dict[str, Any] = {
        "images": [{"id": 7, "file_name": "0.png"}, {"id": 8, "file_name": "gone.png"}],
        "categories": [{"id": 1, "name": "Happy"}, {"id": "2", "name": "sad"}],
        "annotations": [
            {"image_id": 7, "category_id": 1, "bbox": [0, 0, 20, 20]},
            {"image_id": "7", "category_id": 2, "bbox": [12, 12, 20, 20]},
        ],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(about | changed), encoding="utf-8-sig")

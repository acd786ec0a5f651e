"""The formats that people have, by name; an emotion is never guessed from a bare number."""

from collections.abc import Mapping
from types import MappingProxyType

from mien.data.formats.affectnet import AFFECTNET
from mien.data.formats.affectnet_kaggle import AFFECTNET_KAGGLE
from mien.data.formats.affectnet_npy import AFFECTNET_NPY
from mien.data.formats.ckplus import CKPLUS
from mien.data.formats.coco import COCO
from mien.data.formats.csv_table import CSV
from mien.data.formats.cvat import CVAT
from mien.data.formats.expw import EXPW
from mien.data.formats.face_names import NAMED
from mien.data.formats.fer2013 import FER2013
from mien.data.formats.ferplus import FERPLUS
from mien.data.formats.folder import FOLDER
from mien.data.formats.labelme import LABELME
from mien.data.formats.labelstudio import LABEL_STUDIO
from mien.data.formats.parquet import PARQUET
from mien.data.formats.rafdb import RAFDB
from mien.data.formats.reading import Format
from mien.data.formats.via import VIA
from mien.data.formats.voc import VOC
from mien.data.formats.yolo import AFFECTNET_YOLO, YOLO

__all__ = ["FORMATS"]

FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        "ferplus": FERPLUS,
        "affectnet-npy": AFFECTNET_NPY,
        "affectnet-yolo": AFFECTNET_YOLO,
        "yolo": YOLO,
        "coco": COCO,
        "voc": VOC,
        "cvat": CVAT,
        "labelme": LABELME,
        "labelstudio": LABEL_STUDIO,
        "via": VIA,
        "affectnet-kaggle": AFFECTNET_KAGGLE,
        "affectnet": AFFECTNET,
        "rafdb": RAFDB,
        "expw": EXPW,
        "ckplus": CKPLUS,
        **NAMED,
        "fer2013": FER2013,
        "parquet": PARQUET,
        "csv": CSV,
        "folder": FOLDER,
    }
)
"""Every format by name, the more telling layouts first: `auto` takes the first that fits."""

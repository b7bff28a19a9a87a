"""Reference architectures in plain PyTorch, written from their papers; ``MODELS`` lists them. Needs torch."""

from __future__ import annotations

from microlith.zoo.ds_cnn import DSCNN
from microlith.zoo.efficientnet import EfficientNet, efficientnet_lite0
from microlith.zoo.entry import ZooModel
from microlith.zoo.lstm_kws import LSTMKeywordSpotter
from microlith.zoo.mobilenet_v1 import MobileNetV1
from microlith.zoo.mobilenet_v2 import MobileNetV2
from microlith.zoo.mobilenet_v3 import MobileNetV3Small
from microlith.zoo.resnet8 import ResNet8
from microlith.zoo.squeezenet import SqueezeNet
from microlith.zoo.unet import UNet
from microlith.zoo.vit import VisionTransformer
from microlith.zoo.yolo import TinyYOLO

_IMAGE = (1, 3, 224, 224)

MODELS: tuple[ZooModel, ...] = (
    ZooModel("mobilenet_v1", MobileNetV1, _IMAGE, "Howard et al. 2017, arXiv:1704.04861"),
    ZooModel("mobilenet_v2", MobileNetV2, _IMAGE, "Sandler et al. 2018, arXiv:1801.04381"),
    ZooModel("mobilenet_v3_small", MobileNetV3Small, _IMAGE, "Howard et al. 2019, arXiv:1905.02244"),
    ZooModel("squeezenet_1_1", SqueezeNet, _IMAGE, "Iandola et al. 2016, arXiv:1602.07360"),
    ZooModel("efficientnet_b0", EfficientNet, _IMAGE, "Tan and Le 2019, arXiv:1905.11946"),
    ZooModel("efficientnet_lite0", efficientnet_lite0, _IMAGE, "Tan and Le 2019, arXiv:1905.11946"),
    ZooModel("resnet8", ResNet8, (1, 3, 32, 32), "Banbury et al. 2021, arXiv:2106.07597"),
    ZooModel("ds_cnn", DSCNN, (1, 1, 49, 10), "Banbury et al. 2021, arXiv:2106.07597"),
    ZooModel("lstm_kws", LSTMKeywordSpotter, (1, 49, 10), "Zhang et al. 2017, arXiv:1711.07128"),
    ZooModel("vit", VisionTransformer, (1, 3, 32, 32), "Dosovitskiy et al. 2020, arXiv:2010.11929"),
    ZooModel("unet", UNet, (1, 1, 64, 64), "Ronneberger et al. 2015, arXiv:1505.04597"),
    ZooModel("tiny_yolo", TinyYOLO, (1, 3, 416, 416), "Redmon and Farhadi 2018, arXiv:1804.02767"),
)

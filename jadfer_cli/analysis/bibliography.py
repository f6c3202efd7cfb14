"""The works that a methods section cites, as BibTeX.

The citations of networks and detectors stand in their own files (`expression/networks`, `faces`)
and in a result's metadata.
"""

from __future__ import annotations

import re

CALIBRATION = "Guo2017"
BLUR = "Crete2007"
LANDMARKER = ("Lugaresi2019", "Kartynnik2019")
TRACKERS = {"bytetrack": "Zhang2022", "ocsort": "Cao2023"}
DATASETS = {
    "ferplus": "Barsoum2016",
    "rafdb": "Li2017",
    "affectnet7": "Mollahosseini2019",
    "affectnet8": "Mollahosseini2019",
}

_ENTRIES = {
    "Barsoum2016": """@inproceedings{Barsoum2016,
  author    = {Barsoum, Emad and Zhang, Cha and Canton Ferrer, Cristian and Zhang, Zhengyou},
  title     = {Training Deep Networks for Facial Expression Recognition with Crowd-Sourced Label
               Distribution},
  booktitle = {Proceedings of the 18th ACM International Conference on Multimodal Interaction},
  pages     = {279--283},
  year      = {2016},
  doi       = {10.1145/2993148.2993165}
}""",
    "Li2017": """@inproceedings{Li2017,
  author    = {Li, Shan and Deng, Weihong and Du, JunPing},
  title     = {Reliable Crowdsourcing and Deep Locality-Preserving Learning for Expression
               Recognition in the Wild},
  booktitle = {IEEE Conference on Computer Vision and Pattern Recognition},
  pages     = {2584--2593},
  year      = {2017}
}""",
    "Mollahosseini2019": """@article{Mollahosseini2019,
  author  = {Mollahosseini, Ali and Hasani, Behzad and Mahoor, Mohammad H.},
  title   = {{AffectNet}: A Database for Facial Expression, Valence, and Arousal Computing in the
             Wild},
  journal = {IEEE Transactions on Affective Computing},
  volume  = {10},
  number  = {1},
  pages   = {18--31},
  year    = {2019},
  doi     = {10.1109/TAFFC.2017.2740923}
}""",
    "Guo2017": """@inproceedings{Guo2017,
  author    = {Guo, Chuan and Pleiss, Geoff and Sun, Yu and Weinberger, Kilian Q.},
  title     = {On Calibration of Modern Neural Networks},
  booktitle = {International Conference on Machine Learning},
  pages     = {1321--1330},
  year      = {2017},
  note      = {arXiv:1706.04599}
}""",
    "Zhang2022": """@inproceedings{Zhang2022,
  author    = {Zhang, Yifu and Sun, Peize and Jiang, Yi and Yu, Dongdong and Weng, Fucheng and
               Yuan, Zehuan and Luo, Ping and Liu, Wenyu and Wang, Xinggang},
  title     = {{ByteTrack}: Multi-Object Tracking by Associating Every Detection Box},
  booktitle = {European Conference on Computer Vision},
  year      = {2022},
  note      = {arXiv:2110.06864}
}""",
    "Cao2023": """@inproceedings{Cao2023,
  author    = {Cao, Jinkun and Pang, Jiangmiao and Weng, Xinshuo and Khirodkar, Rawal and Kitani,
               Kris},
  title     = {Observation-Centric {SORT}: Rethinking {SORT} for Robust Multi-Object Tracking},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition},
  year      = {2023},
  note      = {arXiv:2203.14360}
}""",
    "Lugaresi2019": """@misc{Lugaresi2019,
  author = {Lugaresi, Camillo and Tang, Jiuqiang and Nash, Hadon and McClanahan, Chris and
            Uboweja, Esha and Hays, Michael and Zhang, Fan and Chang, Chuo-Ling and Yong, Ming
            Guang and Lee, Juhyun and Chang, Wan-Teh and Hua, Wei and Georg, Manfred and Grundmann,
            Matthias},
  title  = {{MediaPipe}: A Framework for Building Perception Pipelines},
  year   = {2019},
  note   = {arXiv:1906.08172}
}""",
    "Kartynnik2019": """@misc{Kartynnik2019,
  author = {Kartynnik, Yury and Ablavatski, Artsiom and Grishchenko, Ivan and Grundmann, Matthias},
  title  = {Real-time Facial Surface Geometry from Monocular Video on Mobile {GPUs}},
  year   = {2019},
  note   = {arXiv:1907.06724}
}""",
    "Crete2007": """@inproceedings{Crete2007,
  author    = {Crete, Frederique and Dolmiere, Thierry and Ladret, Patricia and Nicolas, Marina},
  title     = {The Blur Effect: Perception and Estimation with a New No-Reference Perceptual Blur
               Metric},
  booktitle = {Human Vision and Electronic Imaging XII},
  series    = {Proceedings of SPIE},
  volume    = {6492},
  year      = {2007},
  doi       = {10.1117/12.702790}
}""",
}

# fields end at the closing brace before a line break: values may contain braces
_FIELD = re.compile(r"^\s*(author|year)\s*=\s*\{(.*?)\},?$", re.MULTILINE | re.DOTALL)
_FAMILY_NAME = re.compile(r"\s*([^,]+),")


def entry(key: str) -> str:
    """The BibTeX entry of a work."""
    return _ENTRIES[key]


def key_of(bibtex: str) -> str:
    """The key of a BibTeX entry: "Gao2024"."""
    return bibtex[bibtex.index("{") + 1 : bibtex.index(",")].strip()


def cited(bibtex: str) -> str:
    """How the text cites a BibTeX entry: "Gao et al., 2024"."""
    fields = {name: value for name, value in _FIELD.findall(bibtex)}
    names = [_FAMILY_NAME.match(author) for author in re.split(r"\sand\s", fields["author"])]
    family = [name.group(1).strip("{}") for name in names if name]
    authors = f"{family[0]} et al." if len(family) > 2 else " and ".join(family)
    return f"{authors}, {fields['year']}"


def software(versions: list[str], year: str) -> str:
    """The BibTeX entry of this program.

    Args:
        versions: The versions that wrote the results.
        year: The year in which they were written.
    """
    return f"""@software{{jadfer,
  author  = {{{{The jadfer authors}}}},
  title   = {{jadfer: Facial Expressions in Video, Annotated from the Command Line}},
  version = {{{", ".join(versions)}}},
  year    = {{{year}}},
  url     = {{https://pypi.org/project/jadfer-cli/}}
}}"""

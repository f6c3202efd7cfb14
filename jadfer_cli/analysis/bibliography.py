"""The works that a methods section names, as BibTeX."""

from __future__ import annotations

JADFER = "Gao2024"
CENTERFACE = "Xu2020"
SCRFD = "Guo2021"
BLUR = "Crete2007"
TRACKERS = {"bytetrack": "Zhang2022", "ocsort": "Cao2023"}
DATASETS = {
    "ferplus": "Barsoum2016",
    "rafdb": "Li2017",
    "affectnet7": "Mollahosseini2019",
    "affectnet8": "Mollahosseini2019",
}

_ENTRIES = {
    "Gao2024": """@article{Gao2024,
  author  = {Gao, Yu and Ren, Weihong and Jiang, Weibo and Dong, Qian and Nie, Wei and Wu, Wenhao
             and Liu, Honghai},
  title   = {{JADFER}: Exploring Spatial-Contextual Interaction With Joint Attention Dropping for
             Facial Expression Recognition},
  journal = {IEEE Transactions on Affective Computing},
  volume  = {16},
  number  = {2},
  pages   = {655--668},
  year    = {2024},
  doi     = {10.1109/TAFFC.2024.3454988}
}""",
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
    "Xu2020": """@article{Xu2020,
  author  = {Xu, Yuanyuan and Yan, Wan and Yang, Genke and Luo, Jiliang and Li, Tao and He, Jianan},
  title   = {{CenterFace}: Joint Face Detection and Alignment Using Face as Point},
  journal = {Scientific Programming},
  year    = {2020},
  note    = {arXiv:1911.03599}
}""",
    "Guo2021": """@misc{Guo2021,
  author = {Guo, Jia and Deng, Jiankang and Lattas, Alexandros and Zafeiriou, Stefanos},
  title  = {Sample and Computation Redistribution for Efficient Face Detection},
  year   = {2021},
  note   = {arXiv:2105.04714}
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

_CITED = {
    "Gao2024": "Gao et al., 2024",
    "Barsoum2016": "Barsoum et al., 2016",
    "Li2017": "Li et al., 2017",
    "Mollahosseini2019": "Mollahosseini et al., 2019",
    "Xu2020": "Xu et al., 2020",
    "Guo2021": "Guo et al., 2021",
    "Zhang2022": "Zhang et al., 2022",
    "Cao2023": "Cao et al., 2023",
    "Crete2007": "Crete et al., 2007",
}


def cited(key: str) -> str:
    """How the text names a work: "Gao et al., 2024"."""
    return _CITED[key]


def entry(key: str) -> str:
    """The BibTeX entry of a work."""
    return _ENTRIES[key]


def software(versions: list[str], year: str) -> str:
    """The BibTeX entry of this program.

    Args:
        versions: Those that made the results.
        year: When they were made.
    """
    return f"""@software{{jadfer,
  author  = {{{{The jadfer authors}}}},
  title   = {{jadfer: Facial Expressions in Video, Annotated from the Command Line}},
  version = {{{", ".join(versions)}}},
  year    = {{{year}}},
  url     = {{https://pypi.org/project/jadfer-cli/}}
}}"""

"""The page of the demo: tables and pictures in one HTML file, with what they show."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from _demo_table import Section

SITE = Path(__file__).resolve().parents[1] / "docs"


class Story(NamedTuple):
    """The content of a section: two sentences, its tutorial, and its pictures with captions."""

    text: str
    known: str
    tutorial: str
    pictures: Mapping[str, str]


STORIES = {
    "oring": Story(
        "23 launches of the Space Shuttle show how the risk of damaged O-rings grew in the cold. "
        "One sample gives the evidence, the posterior and the risk at eleven temperatures.",
        "Quadrature in two dimensions gives the known answers: the grey line in the first picture.",
        "importance",
        {
            "oring_distress.png": "Risk of distress against temperature, beside quadrature.",
            "oring_correlation.png": "Correlations of the 17 estimates, which share one sample.",
            "stages.png": "The adaptation of the sampler, here and for the beam.",
        },
    ),
    "beam": Story(
        "One beam model under 100 laws of its inputs: one run of 20,000 model calls gives all 100 "
        "means. Separate Monte Carlo with the same number of calls has much larger errors.",
        "Quadrature gives the known means.",
        "importance",
        {"beam_expectations.png": "Errors of the 100 means, and the gain over separate runs."},
    ),
    "integrals": Story(
        "A narrow peak in five correlated coordinates, a failure with four causes, the inputs that "
        "a beam's deflection depends on, and the price of an option from paths of several "
        "finenesses.",
        "All answers are exact; the two rows of P are two independent opinions of one run.",
        "importance",
        {
            "branches.png": "Regions of failure, with their shares, and the levels of the walk.",
            "beam_indices.png": "Shares of the inputs in the variance, alone and in all, ± 95 %.",
            "option_levels.png": "Variances and paths by level: most paths are coarse and cheap.",
        },
    ),
    "schools": Story(
        "Eight schools tried the same course; how much do their effects differ? Importance "
        "sampling in ten dimensions gives the evidence and the posterior means from one run.",
        "Quadrature gives the known answers, to more digits than shown.",
        "importance",
        {"schools.png": "Effects of the schools, and the posterior of their spread."},
    ),
    "chains": Story(
        "The same posterior by Markov chains (NUTS), with the density in Rust, as a C function and "
        "in NumPy. All three forms give the same law, at different speeds.",
        "Quadrature again gives the known means.",
        "mcmc",
        {"schools_traces.png": "Traces of the four chains; they overlap, as they should."},
    ),
    "regression": Story(
        "569 tumours and 30 measurements: a logistic regression with 31 coefficients by NUTS. "
        "Gradients at the draws reduce the errors of means for no further cost.",
        "Four million draws of importance sampling give the known means.",
        "mcmc",
        {"tumours_energy.png": "Energies of the chains: both histograms should agree."},
    ),
    "walks": Story(
        "Walkers average over the nodes of three networks. Those that avoid where they have been "
        "need far fewer steps for the same error.",
        "The mean over all nodes is known, and so is the limit of the error by theory.",
        "walks",
        {
            "walks_errors.png": "Errors along the walks, beside theory.",
            "walks_visits.png": "Visits to the characters of Les Misérables, by kernel.",
        },
    ),
    "tokens": Story(
        "The tumours lie at the nodes of a network, and a token that carries the coefficients "
        "walks from node to node. A token that avoids its past learns them with a smaller error.",
        "Newton's method gives the known coefficients, and theory the error.",
        "walks",
        {"walks_tokens.png": "The distance to the optimum, by strength of the repellence."},
    ),
    "privacy": Story(
        "Thousands of small classifiers were trained with and without private noise, and attacked. "
        "The posterior of epsilon shows whether the training keeps its claim.",
        "The noise gives the true epsilon; one training forgets to clip, and is found out.",
        "privacy",
        {"privacy.png": "Posteriors of epsilon beside the claims."},
    ),
    "evaluate": Story(
        "How good are two learners of digits, judged from 200 images alone, and is one better? The "
        "bootstrap says so with an error, and the corrected test is not fooled by equal learners.",
        "All other images give the known errors; other tumours and exact laws the rest.",
        "evaluate",
        {
            "evaluate.png": "Error rates, tests of equal learners, and coverage (the left edge is "
            "0.70 or less).",
        },
    ),
    "resample": Story(
        "How sure is the mean growth of an economy, whose quarters depend on each other? Did the "
        "Nile have less water after 1898? How much of each further franc went into food?",
        "Exact laws of resamples, published values and statsmodels give the known answers.",
        "resample",
        {
            "resample.png": "The data with their intervals, and the coverage of intervals of "
            "series, fermiac's and arch's; that of independent data is in the picture before.",
        },
    ),
    "nested": Story(
        "31 expansion rates of the universe, and four models of it. Nested sampling weighs the "
        "models against each other, with and without a learnt surrogate.",
        "Quadrature gives the known evidences, also for the egg box with eighteen modes.",
        "nested",
        {
            "nested_rates.png": "The data, and the models that fit them.",
            "nested_eggbox.png": "Draws from all eighteen modes of the egg box.",
        },
    ),
    "score": Story(
        "Images of digits are drawn from pure noise by a score model. The model is an exact "
        "mixture, so that each integrator can be compared with the exact solution.",
        "Densities and shares of the mixture are known in closed form.",
        "score",
        {"score_mixture.png": "Digits from noise by different integrators."},
    ),
    "steering": Story(
        "The same digits given something: the upper half of an image, a class, or ten pixels that "
        "are chosen one after the other. A flow makes one digit another.",
        "The posterior of a mixture, its evidence and its moments are known in closed form.",
        "score",
        {
            "steering_inpainting.png": "Lower halves given the upper one, and their spread.",
            "steering_class.png": "One class by guidance: larger scales exaggerate it.",
            "steering_pixels.png": "Errors with chosen, fixed and random pixels.",
            "steering_flow.png": "Images on their way from one digit to another.",
        },
    ),
}

STYLE = """
body { font: 16px/1.55 system-ui, sans-serif; color: #1d2430; margin: 0 auto; max-width: 60rem;
  padding: 1rem; }
h1 { font-size: 1.8rem; } h2 { font-size: 1.3rem; margin-top: 2.5rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .85rem; white-space: nowrap; }
th, td { padding: .25rem .7rem; text-align: right; border-bottom: 1px solid #e2e6ee; }
th:first-child, td:first-child { text-align: left; }
.far { color: #c0182b; font-weight: 600; }
pre { font-size: .78rem; background: #f4f6fa; padding: .6rem; overflow-x: auto; }
li { font-size: .9rem; } figure { margin: 1rem 0; } figcaption { font-size: .85rem; color: #556; }
img { max-width: 100%; height: auto; } nav a { margin-right: .8rem; }
"""


def write(path: Path, sections: Mapping[str, Section], version: str) -> None:
    """Write the page; pictures come from the folder of the page."""
    used: set[str] = set()
    parts = [_section(name, section, path.parent, used) for name, section in sections.items()]
    links = " ".join(f'<a href="#{name}">{html.escape(name)}</a>' for name in sections)
    path.write_text(
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>fermiac: the demo</title><style>{STYLE}</style></head><body>\n"
        f"<h1>fermiac {html.escape(version)}: worked examples with known answers</h1>\n"
        "<p>Each row compares an estimate with its known answer. The last column is the error in "
        "standard errors: about one row in twenty should lie beyond ±2, none beyond ±5.</p>\n"
        f"<nav>{links}</nav>\n" + "\n".join(parts) + "\n</body></html>\n",
        encoding="utf-8",
    )


def _section(name: str, section: Section, folder: Path, used: set[str]) -> str:
    story = STORIES[name]
    known = list(story.pictures.items())
    drawn = sorted(p.name for p in folder.glob(f"{name}_*.png"))
    pictures = known + [(file, "") for file in drawn if file not in story.pictures]
    figures = [_figure(folder / file, caption) for file, caption in pictures if file not in used]
    used.update(file for file, _ in pictures)
    built = SITE / "_build" / "html" / "tutorials" / f"{story.tutorial}.html"
    tutorial = built if built.exists() else SITE / "tutorials" / f"{story.tutorial}.md"
    lines = [f'<h2 id="{name}">{html.escape(section.title)}</h2>']
    lines.append(f"<p>{html.escape(story.text)} {html.escape(story.known)}")
    lines.append(f'<a href="{tutorial.as_uri()}">Tutorial: {story.tutorial}</a>.</p>')
    lines.append(_table(section))
    if section.lines:
        lines.append(f"<pre>{html.escape(chr(10).join(section.lines))}</pre>")
    lines += figures
    notes = "".join(f"<li>{html.escape(note)}</li>" for note in section.notes)
    return "\n".join([*lines, f"<ul>{notes}</ul>"])


def _table(section: Section) -> str:
    rows = [
        f"<tr><td>{html.escape(row.quantity)}</td><td>{row.estimate:.6g}</td>"
        f"<td>{row.stderr:.1e}</td><td>{row.known:.6g}</td>"
        f"<td{_far(row.pull)}>{row.pull:+.2f}</td><td>{row.n_evals:,}</td></tr>"
        for row in section.rows
    ]
    return (
        '<div class="wide"><table><tr><th>quantity</th><th>estimate</th><th>standard error</th>'
        "<th>known</th><th>error / standard error</th><th>evaluations</th></tr>"
        + "".join(rows)
        + "</table></div>"
    )


def _far(pull: float) -> str:
    return ' class="far"' if abs(pull) > 3 else ""


def _figure(path: Path, caption: str) -> str:
    if not path.exists():
        return ""
    data = base64.b64encode(path.read_bytes()).decode()
    shown = html.escape(caption or path.stem.replace("_", " "))
    return (
        f'<figure><img alt="{shown}" src="data:image/png;base64,{data}">'
        f"<figcaption>{shown}</figcaption></figure>"
    )

"""Small line charts in one SVG file."""

import math
from pathlib import Path

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 380, 240, 56, 34, 16, 44
COLOURS = ["#2266aa", "#999999", "#aa4422"]


def ticks(largest: float) -> list:
    """Round numbers from 0 to at least the largest."""
    step = 10 ** math.floor(math.log10(largest))
    for factor in (0.1, 0.2, 0.25, 0.5, 1, 2):
        if largest / (step * factor) <= 5:
            return [step * factor * number for number in range(math.ceil(largest / (step * factor)) + 1)]
    return [0, largest]


def panel(title: str, unit: str, values: list, series: list) -> list:
    """One chart: values on a logarithmic axis, lines from 0 up; `series` are names with as many numbers."""
    marks = ticks(max(max(numbers) for _, numbers in series))
    low, high = math.log(min(values)), math.log(max(values))
    x = lambda value: LEFT + (WIDTH - LEFT - RIGHT) * ((math.log(value) - low) / (high - low) if high > low else 0.5)
    y = lambda number: HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * number / marks[-1]
    lines = [f'<text x="{LEFT}" y="16">{unit}</text>',
             f'<text x="{(WIDTH + LEFT) / 2:.0f}" y="{HEIGHT - 10}" text-anchor="middle">{title}</text>']
    for mark in marks:
        lines.append(f'<line x1="{LEFT}" y1="{y(mark):.1f}" x2="{WIDTH - RIGHT}" y2="{y(mark):.1f}" stroke="#ddd"/>'
                     f'<text x="{LEFT - 6}" y="{y(mark) + 4:.1f}" text-anchor="end">{mark:g}</text>')
    for value in values:
        lines.append(f'<text x="{x(value):.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{value}</text>')
    for place, (name, numbers) in enumerate(series):
        colour = COLOURS[place]
        points = " ".join(f"{x(value):.1f},{y(number):.1f}" for value, number in zip(values, numbers))
        lines.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        for value, number in zip(values, numbers):
            lines.append(f'<circle cx="{x(value):.1f}" cy="{y(number):.1f}" r="3" fill="{colour}">'
                         f"<title>{name}: {number:.4g} {unit} at {value}</title></circle>")
        lines.append(f'<text x="{LEFT + 70 + 90 * place}" y="16" fill="{colour}">{name}</text>')
    return lines


def write(path: Path, panels: list):
    """Writes charts, two beside each other; each is (title, unit, values, series)."""
    rows = math.ceil(len(panels) / 2)
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{2 * WIDTH}" height="{rows * HEIGHT}" '
             'font-family="sans-serif" font-size="11">', f'<rect width="{2 * WIDTH}" height="{rows * HEIGHT}" fill="white"/>']
    for place, parts in enumerate(panels):
        lines += [f'<g transform="translate({place % 2 * WIDTH} {place // 2 * HEIGHT})">', *panel(*parts), "</g>"]
    path.write_text("\n".join(lines) + "\n</svg>\n")

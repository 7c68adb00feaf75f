#!/usr/bin/env python3
"""Writes Sources/Tokenizers/Text/UnicodeScriptTable.swift by asking the Python package `tokenizers`.

Two characters side by side are cut apart by the pre-tokenizer UnicodeScripts exactly when their
scripts differ; a character alone vanishes when it counts as any script. So the classes of all code
points follow from questions, without a list of names.
"""

from pathlib import Path

from tokenizers import pre_tokenizers

OUTPUT = Path(__file__).parents[2] / "Sources/Tokenizers/Text/UnicodeScriptTable.swift"
SPLITTER = pre_tokenizers.UnicodeScripts()


def pieces(text):
    return len(SPLITTER.pre_tokenize_str(text))


def main():
    representatives, ranges, previous = [], [], None
    for value in range(0x110000):
        if 0xD800 <= value <= 0xDFFF:
            continue
        character = chr(value)
        if pieces(character) == 0:
            script = 0
        elif previous and pieces(representatives[previous - 1] + character) == 1:
            script = previous
        else:
            script = next((i for i, r in enumerate(representatives, 1) if pieces(r + character) == 1), None)
            if script is None:
                representatives.append(character)
                script = len(representatives)
        if not ranges or ranges[-1][1] != script:
            ranges.append((value, script))
        previous = script
    assert len(representatives) < 255
    words, lines, line = [f"{start:X} {script}," for start, script in ranges], [], ""
    for word in words:
        if len(line) + len(word) > 92:
            lines.append(line.rstrip())
            line = ""
        line += word + " "
    lines.append(line.rstrip().rstrip(","))
    body = "\n".join("    " + line + (" \\" if line is not lines[-1] else "") for line in lines)
    OUTPUT.write_text(f'''import Foundation

/// The scripts of Unicode as the reference's pre-tokenizer knows them; kana count as Han.
///
/// Written by scripts/goldens/unicode_scripts.py.
enum UnicodeScriptTable {{
  /// The script of spaces and of what has none.
  static let any: UInt8 = 0

  /// The script of a scalar; {len(representatives)} are told apart, numbered by their first scalar.
  static func script(of value: UInt32) -> UInt8 {{
    if value < 0x3000 {{ return low[Int(value)] }}
    return search(value)
  }}

  /// The scripts of the first 12,288 scalars.
  private static let low: [UInt8] = (0..<0x3000).map {{ search($0) }}

  private static func search(_ value: UInt32) -> UInt8 {{
    var (first, last) = (0, ranges.count)
    while last - first > 1 {{
      let middle = (first + last) / 2
      if ranges[middle].start <= value {{ first = middle }} else {{ last = middle }}
    }}
    return ranges[first].script
  }}

  /// Where a range begins and its script.
  private static let ranges: [(start: UInt32, script: UInt8)] = list.split(separator: ",").map {{
    let words = $0.split(separator: " ")
    return (UInt32(words[0], radix: 16) ?? 0, UInt8(words[1]) ?? 0)
  }}

  private static let list = """
{body}
    """
}}
''')
    print(len(ranges), "ranges,", len(representatives), "scripts")


if __name__ == "__main__":
    main()

"""Checks that the whole templates together use every feature that real ones use.

The list is a count over 89 templates of model families: what stands in at least one of them.
"""

import re

from jinja2 import nodes

FILTERS = """tojson trim length string items safe default join selectattr reject map list upper lower
dictsort title int""".split()
TESTS = """defined undefined none string mapping iterable sequence true false boolean""".split()
METHODS = """split strip lstrip rstrip startswith endswith items get capitalize upper""".split()
LOOP = "index index0 first last previtem nextitem".split()
OTHER = """if elif else for set namespace slice-start slice-stop slice-reverse inline-if macro
macro-default unpacking for-filter modulo subtraction concatenation block-set break continue
generation whitespace-control comment raise_exception strftime_now range-or-dict""".split()


def features(environment, source):
    """The features that one template uses."""
    found = set()
    if re.search(r"\{%-|-%\}|\{\{-|-\}\}", source):
        found.add("whitespace-control")
    if "{#" in source:
        found.add("comment")
    if re.search(r"\{%-?\s*generation", source):
        found.add("generation")
    kinds = {
        nodes.If: "if", nodes.For: "for", nodes.Assign: "set", nodes.NSRef: "namespace",
        nodes.CondExpr: "inline-if", nodes.Macro: "macro", nodes.Mod: "modulo",
        nodes.Sub: "subtraction", nodes.Concat: "concatenation", nodes.AssignBlock: "block-set",
        nodes.Break: "break", nodes.Continue: "continue",
    }
    tree = environment.parse(source)
    for node in tree.find_all(nodes.Node):
        if type(node) in kinds:
            found.add(kinds[type(node)])
        if isinstance(node, nodes.If):
            found |= {"elif"} if node.elif_ else set()
            found |= {"else"} if node.else_ else set()
        elif isinstance(node, nodes.For):
            found |= {"unpacking"} if isinstance(node.target, nodes.Tuple) else set()
            found |= {"for-filter"} if node.test is not None else set()
        elif isinstance(node, nodes.Macro) and node.defaults:
            found.add("macro-default")
        elif isinstance(node, nodes.Slice):
            found |= {"slice-start"} if node.start is not None else set()
            found |= {"slice-stop"} if node.stop is not None else set()
            found |= {"slice-reverse"} if isinstance(node.step, nodes.Neg) else set()
        elif isinstance(node, nodes.Filter):
            found.add("filter " + node.name)
        elif isinstance(node, nodes.Test):
            found.add("test " + node.name)
        elif isinstance(node, nodes.Getattr) and isinstance(node.node, nodes.Name) and node.node.name == "loop":
            found.add("loop." + node.attr)
        elif isinstance(node, nodes.Call):
            if isinstance(node.node, nodes.Getattr):
                found.add("method " + node.node.attr)
            elif isinstance(node.node, nodes.Name):
                found.add("range-or-dict" if node.node.name in ("range", "dict") else node.node.name)
    return found


def missing(environment, sources):
    """What no template of these uses."""
    found = set().union(*(features(environment, source) for source in sources))
    wanted = set(OTHER) | {"filter " + name for name in FILTERS} | {"test " + name for name in TESTS}
    wanted |= {"method " + name for name in METHODS} | {"loop." + name for name in LOOP}
    return sorted(wanted - found)

"""The conversations that every template is rendered with."""

SPECIAL = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Tells the weather of a \"city\" <now> & later.",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": "Größe: e.g. 東京"},
                "days": {"type": "integer", "default": 3, "minimum": 1},
                "unit": {"type": "string", "enum": ["c", "f"], "nullable": True},
            },
            "required": ["city"],
        },
    },
}
CLOCK = {
    "type": "function",
    "function": {"name": "clock", "parameters": {"type": "object", "properties": {}}},
}


def user(text, **more):
    return {"role": "user", "content": text, **more}


def assistant(text, **more):
    return {"role": "assistant", "content": text, **more}


def system(text):
    return {"role": "system", "content": text}


def call(name, arguments, number="0"):
    return {
        "id": "call_" + number,
        "type": "function",
        "function": {"name": name, "arguments": arguments},
    }


CONVERSATIONS = {
    "plain": {
        "messages": [user("Hello there")],
        "special": SPECIAL,
        "add_generation_prompt": True,
        "variables": {
            "words": ["pear", "Apple", "fig", "apple"],
            "numbers": [3, 1, 2, 3],
            "person": {"name": "Ada", "age": 36, "tags": ["x", "y"], "items": 5, "none": None},
            "pi": 3.14159,
            "big": 1e16,
            "nothing": None,
            "yes": True,
            "empty": "",
        },
    },
    "system": {
        "messages": [system("Be brief."), user("Hi"), assistant("Hello!"), user("Bye")],
        "special": SPECIAL,
        "add_generation_prompt": True,
    },
    "turns": {
        "messages": [
            user("one"), assistant("ONE"), user("two"), assistant("TWO"), user("three"),
            assistant("THREE"),
        ],
        "special": SPECIAL,
    },
    "unicode": {
        "messages": [
            user("Größe ß 東京 👩‍👩‍👧 e\u0301 é \u00a0end\u2003"),
            assistant("\u200bzero\u2028line\r\nbreak\ttab \"quoted\" 'single' \\ back"),
        ],
        "special": SPECIAL,
    },
    "space": {
        "messages": [user("  padded \n\n"), assistant("\n\nlines\n  and\n\n more  \n")],
        "special": SPECIAL,
    },
    "empty content": {
        "messages": [user(""), assistant(""), user("x")],
        "special": SPECIAL,
        "add_generation_prompt": True,
    },
    "nulls": {
        "messages": [
            user("call it", name=None),
            assistant(None, tool_calls=[call("clock", {})]),
            {"role": "tool", "content": None, "tool_call_id": "call_0"},
        ],
        "special": SPECIAL,
        "tools": [CLOCK],
    },
    "tools": {
        "messages": [
            system("Use tools."),
            user("Weather in 東京 and the time?"),
            assistant(
                "", tool_calls=[
                    call("get_weather", {"city": "東京", "days": 2, "metric": True, "w": 0.1}),
                    call("clock", {}, "1"),
                ],
            ),
            {"role": "tool", "name": "get_weather", "content": '{"t": 21.5}', "tool_call_id": "call_0"},
            {"role": "tool", "name": "clock", "content": "12:00", "tool_call_id": "call_1"},
            assistant("21.5 and noon."),
            user("Thanks <b>"),
        ],
        "tools": [WEATHER, CLOCK],
        "special": SPECIAL,
        "add_generation_prompt": True,
        "variables": {"enable_thinking": False, "date_string": "26 Jul 2024"},
    },
    "arguments as text": {
        "messages": [
            user("go"),
            assistant("ok", tool_calls=[call("get_weather", '{"city": "Rome"}')]),
            {"role": "tool", "content": "sunny"},
        ],
        "tools": [WEATHER],
        "special": SPECIAL,
    },
    "reasoning": {
        "messages": [
            user("2+2"), assistant("4", reasoning="add them"), user("3+3"),
            assistant("<think>\nsix\n</think>\n\n6"), user("why"),
            assistant("because", reasoning_content="\nsum\n", thinking="old"),
        ],
        "special": SPECIAL,
        "variables": {"enable_thinking": True},
    },
    "parts": {
        "messages": [
            user([{"type": "text", "text": "look "}, {"type": "image", "url": "x.png"},
                  {"type": "text", "text": "here"}]),
            assistant([{"type": "text", "text": "a cat"}]),
        ],
        "special": SPECIAL,
        "add_generation_prompt": True,
    },
    "odd roles": {
        "messages": [assistant("I begin"), user("a"), user("b"), {"role": "critic", "content": "no"}],
        "special": {},
        "variables": {"documents": [{"title": "T", "text": "body"}], "custom": {"a": [1, {"b": None}]}},
    },
    "no content": {"messages": [{"role": "user"}, {"content": "no role"}], "special": SPECIAL},
    "numbers": {
        "messages": [user(42), assistant(True), user(1.5), assistant([]), user({"a": 1})],
        "special": SPECIAL,
    },
}

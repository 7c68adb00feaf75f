"""Whole templates in the manners that model families have, written for these tests."""

TEMPLATES = {
    "turn markers": """{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|start|>system\\nDefault.<|stop|>\\n' }}{% endif %}{{'<|start|>' + message['role'] + '\\n' + message['content'] + '<|stop|>' + '\\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|start|>assistant\\n' }}{% endif %}""",
    "instruction brackets": """{{ bos_token }}
{%- if messages[0].role == 'system' -%}
  {%- set system_text = messages[0].content ~ '\\n\\n' -%}
  {%- set rest = messages[1:] -%}
{%- else -%}
  {%- set system_text = '' -%}
  {%- set rest = messages -%}
{%- endif -%}
{%- for message in rest -%}
  {%- if (message.role == 'user') != (loop.index0 % 2 == 0) -%}
    {{- raise_exception('roles must alternate, found ' ~ message.role) -}}
  {%- endif -%}
  {%- if message.role == 'user' -%}
    {{- '[Q] ' + (system_text if loop.first else '') + message.content | trim + ' [/Q]' -}}
  {%- elif message.role == 'assistant' -%}
    {{- ' ' + message.content | trim + eos_token -}}
  {%- else -%}
    {{- raise_exception('unknown role') -}}
  {%- endif -%}
{%- endfor -%}
""",
    "headers": """{{- bos_token }}
{%- if custom_tools is defined %}
    {%- set tools = custom_tools %}
{%- endif %}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}
        {%- set date_string = strftime_now("%d %b %Y") %}
    {%- else %}
        {%- set date_string = "none" %}
    {%- endif %}
{%- endif %}
{#- A comment
    over lines. -#}
{%- if messages[0]['role'] == 'system' %}
    {%- set first = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set first = "" %}
{%- endif %}
{{- "<|head|>system<|/head|>\\n\\n" }}
{%- if tools is not none %}
    {{- "Tools:\\n\\n" }}
    {%- for t in tools %}
        {{- t | tojson(indent=4) }}
        {{- "\\n\\n" }}
    {%- endfor %}
{%- endif %}
{{- "Today: " + date_string + "\\n" + first + "<|eot|>" }}
{%- for message in messages %}
    {%- if not (message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|head|>' + message['role'] + '<|/head|>\\n\\n'+ message['content'] | trim + '<|eot|>' }}
    {%- elif 'tool_calls' in message %}
        {%- if not message.tool_calls|length == 1 %}
            {{- raise_exception("one call at a time") }}
        {%- endif %}
        {%- set tool_call = message.tool_calls[0].function %}
        {{- '<|head|>assistant<|/head|>\\n\\n' -}}
        {{- '{"name": "' + tool_call.name + '", ' }}
        {{- '"parameters": ' }}
        {{- tool_call.arguments | tojson }}
        {{- "}<|eot|>" }}
    {%- elif message.role == "tool" %}
        {{- "<|head|>tool<|/head|>\\n\\n" }}
        {%- if message.content is mapping or message.content is iterable %}
            {{- message.content | tojson }}
        {%- else %}
            {{- message.content }}
        {%- endif %}
        {{- "<|eot|>" }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|head|>assistant<|/head|>\\n\\n' }}
{%- endif %}
""",
    "reasoning and namespaces": """{%- set ns = namespace(multi_step=true, last_query=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi_step and message.role == "user" and message.content is string and not(message.content.startswith('<response>') and message.content.endswith('</response>')) %}
        {%- set ns.multi_step = false %}
        {%- set ns.last_query = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.content is string %}
        {%- set content = message.content %}
    {%- else %}
        {%- set content = '' %}
    {%- endif %}
    {%- if message.role == "assistant" %}
        {%- set thoughts = '' %}
        {%- if message.reasoning_content is string %}
            {%- set thoughts = message.reasoning_content %}
        {%- elif '</think>' in content %}
            {%- set thoughts = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
            {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
        {%- endif %}
        {%- if loop.index0 > ns.last_query and (loop.last or thoughts) %}
            {{- '<a>\\n<think>\\n' + thoughts.strip('\\n') + '\\n</think>\\n\\n' + content.lstrip('\\n') }}
        {%- else %}
            {{- '<a>\\n' + content }}
        {%- endif %}
        {%- if message.tool_calls %}
            {%- for tool_call in message.tool_calls %}
                {%- if (loop.first and content) or (not loop.first) %}{{- '\\n' }}{%- endif %}
                {%- if tool_call.function %}{%- set tool_call = tool_call.function %}{%- endif %}
                {{- '{"name": "' ~ tool_call.name ~ '", "arguments": ' }}
                {%- if tool_call.arguments is string %}{{- tool_call.arguments }}{%- else %}{{- tool_call.arguments | tojson }}{%- endif %}
                {{- '}' }}
            {%- endfor %}
        {%- endif %}
        {{- '</a>\\n' }}
    {%- elif message.role == "tool" %}
        {%- if loop.first or (messages[loop.index0 - 1].role != "tool") %}{{- '<u>' }}{%- endif %}
        {{- '\\n<response>\\n' + content + '\\n</response>' }}
        {%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}{{- '</u>\\n' }}{%- endif %}
    {%- else %}
        {{- '<' ~ message.role ~ '>\\n' + content + '</>' + '\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<a>\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}
{%- endif %}""",
    "schema macros": """{%- macro kind(schema, depth=0, sep=' | ') -%}
{%- if schema.enum -%}
{{ schema.enum | map('tojson') | join(sep) }}
{%- elif schema.type == 'object' -%}
{{ '{' }}
{%- for key, value in schema.properties | dictsort %}
{{ '  ' * (depth + 1) }}{{ key }}{{ '' if key in schema.required|default([]) else '?' }}: {{ kind(value, depth=depth + 1) }}{{ ',' if not loop.last }}{% if value.description %} // {{ value.description }}{% endif %}
{%- endfor %}
{{ '  ' * depth }}{{ '}' }}
{%- else -%}
{{ {'string': 'str', 'integer': 'int'}.get(schema.type, schema.type) }}{% if schema.default is defined %} = {{ schema.default }}{% endif %}
{%- endif -%}
{%- endmacro -%}
{% if tools %}{% for tool in tools %}{% set f = tool.function if 'function' in tool else tool %}
function {{ f.name }}({{ kind(f.parameters) }})
{% endfor %}{% else %}no tools
{% endif %}
{% for m in messages if m.role != 'system' %}{{ loop.index }}/{{ loop.length }} {{ m.role|title }}: {{ m.content|default('-', true) }}
{% endfor %}""",
    "generation blocks": """{% for message in messages %}
{% if message.role == 'assistant' %}
<|assistant|>
{% generation %}
{{ message.content }}{{ eos_token }}
{% endgeneration %}
{% else %}
<|{{ message.role }}|>
{{ message.content }}
{% endif %}
{% endfor %}
{% if add_generation_prompt %}<|assistant|>
{% endif %}
""",
    "tight generation blocks": """{%- for message in messages -%}
{%- if message.role == 'assistant' -%}A: {% generation %}{{- message.content -}}{% set inner = 1 %}{{ eos_token }}{%- endgeneration -%}{{ inner is defined }}{%- else -%}{{ message.role|upper }}: {{ message.content }}{%- endif -%}|
{%- endfor -%}""",
    "parts": """{%- macro show(content) -%}
{%- if content is string -%}{{- content -}}
{%- elif content is iterable and content is not mapping -%}
{%- for part in content -%}
{%- if part.type == 'text' -%}{{- part.text -}}{%- elif 'image' in part.type -%}{{- '<image>' -}}{%- else -%}{{- raise_exception('unknown part') -}}{%- endif -%}
{%- endfor -%}
{%- elif content is none or content is undefined -%}{{- '' -}}
{%- else -%}{{- raise_exception('unexpected content') -}}{%- endif -%}
{%- endmacro -%}
{%- for message in messages -%}
[{{ message.role }}] {{ show(message.content) | trim }}
{% endfor -%}
{%- if add_generation_prompt -%}[model] {% endif -%}""",
    "trimmed blocks": """
{% for message in messages %}
    {% if message.role == 'user' %}
    U: {{ message.content }}
    {% elif message.role == 'assistant' %}
  A: {{ message.content }}   
    {%+ else +%}
    other
    {% endif %}   
	{# tab comment #}
{% endfor %}

end
""",
    "json of everything": """{{ messages | tojson }}
{{ tools | tojson(indent=2) }}
{{ documents | tojson }}
{{ messages[0] | tojson(sort_keys=true, separators=(',', ':')) }}
{{ messages | tojson(ensure_ascii=true, indent='\\t') }}
{{ custom | default({}) | tojson(indent=0) }}""",
    "text of everything": """{{ messages }}
{{ tools }}{% for m in messages %}{{ m.keys() | list }}{{ m.content is string }}{{ m }}{% endfor %}""",
    "pairs and groups": """{% for role, group in messages | groupby('role') %}{{ role }}: {{ group | map(attribute='content') | list }}
{% endfor %}
{% for key, value in messages[-1].items() %}{{ key }}={{ value }};{% endfor %}
{{ messages | selectattr('role', 'equalto', 'user') | list | length }} {{ messages | rejectattr('role', 'in', ['user', 'system']) | map(attribute='role') | unique | join(',') }}
{{ messages | map(attribute='name', default='anon') | join(' ') }}
{{ (messages | last).role }}{{ (messages | first).role }}{{ messages | map('length') | sum }}""",
    "loop members": """{% for m in messages %}{{ loop.index }} {{ loop.index0 }} {{ loop.revindex }} {{ loop.revindex0 }} {{ loop.first }} {{ loop.last }} {{ loop.length }} {{ loop.cycle('a', 'b') }} {{ loop.changed(m.role) }} {{ loop.previtem.role if not loop.first }} {{ loop.nextitem.role if loop.nextitem is defined }} {{ loop.depth }}{% if loop.index > 4 %}{% break %}{% endif %}
{% else %}none{% endfor %}
{% for m in messages if m.role == 'assistant' %}{{ loop.index }}/{{ loop.length }}{{ loop.last }}{% else %}no assistant{% endfor %}
{% for m in messages %}{% if m.role != 'user' %}{% continue %}{% endif %}{{ m.content }}{% else %}never completed{% endfor %}""",
    "lazy filter": """{% set ns = namespace(n=0, seen=[]) %}{% for m in messages if ns.n < 2 %}{% set ns.n = ns.n + 1 %}{% set ns.seen = ns.seen + [m.role] %}{{ m.role }} {% endfor %}{{ ns.n }} {{ ns.seen }}""",
    "block set and call": """{% set header %}<{{ messages[0].role | default('?') }}>{% endset %}
{% set shout | upper | trim %}  hey {{ messages|length }}  {% endset %}
{% macro wrap(tag, sep='-') %}{{ tag }}{{ sep }}{{ caller(tag|length) }}{{ sep }}{{ tag }}{% endmacro %}
{% call(n) wrap('box') %}{{ n }}{{ header }}{{ shout }}{% endcall %}
{% filter upper | replace('A', '@') %}{% for m in messages %}{{ m.role }} {% endfor %}{% endfilter %}
{% with a = 1, b = messages | length %}{{ a + b }}{% endwith %}{{ a is defined }}""",
}

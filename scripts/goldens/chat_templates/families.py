"""More whole templates, written for these tests: each has habits that real ones combine."""

FAMILIES = {
    "channels and effort": """{%- macro type_of(spec, indent='') -%}
    {%- if spec.type is string and spec.type == 'array' -%}{{ type_of(spec['items'] if spec['items'] is defined else {'type': 'any'}) }}[]
    {%- elif spec.enum is defined and spec.enum is sequence -%}{%- for value in spec.enum -%}"{{ value }}"{% if not loop.last %} | {% endif %}{%- endfor -%}
    {%- elif spec.type is iterable and spec.type is not string -%}{{ spec.type | join(' | ') }}
    {%- else -%}{{ {'integer': 'number', 'boolean': 'bool'}[spec.type] or spec.type | default('any', true) }}{%- endif -%}
    {%- if spec.nullable -%}{{ ' | null' }}{%- endif -%}
{%- endmacro -%}
{%- set model_name = model_name | default('the model') -%}
{{- '<|begin|>system<|text|>You are ' + model_name + '.\\nToday: ' + strftime_now('%Y-%m-%d') + '\\n' -}}
{{- 'Effort: ' + (reasoning_effort if reasoning_effort is defined else 'medium') + '\\n' -}}
{%- if tools -%}{{- '# Functions\\n' -}}
{%- for tool in tools -%}{%- set tool = tool.function -%}
{{- '// ' + (tool.description | default('no description')) + '\\ntype ' + tool.name + ' = (' -}}
{%- for name, spec in tool.parameters.properties.items() -%}
{{- name }}{{ '?' if name not in (tool.parameters.required or []) }}: {{ type_of(spec) -}}
{%- if spec.default is defined -%}{{- ' /* ' ~ (spec.default if spec.default is not string else '"' ~ spec.default ~ '"') ~ ' */' -}}{%- endif -%}
{%- if not loop.last -%}, {% endif -%}
{%- endfor -%}
{{- ') => any;\\n' -}}
{%- endfor -%}{%- endif -%}
{{- '<|end|>' -}}
{%- set last_tool = namespace(name=none) -%}
{%- for message in messages -%}
{%- if message.role == 'assistant' -%}
    {%- if 'thinking' in message and loop.last -%}{{- '<|begin|>assistant<|channel|>analysis<|text|>' + message.thinking + '<|end|>' -}}{%- endif -%}
    {%- if 'tool_calls' in message -%}
        {%- set call = message.tool_calls[0] -%}
        {%- if call.function -%}{%- set call = call.function -%}{%- endif -%}
        {%- set last_tool.name = call.name -%}
        {{- '<|begin|>assistant to=' ~ call.name ~ '<|channel|>commentary<|text|>' ~ (call.arguments | tojson) ~ '<|call|>' -}}
    {%- else -%}{{- '<|begin|>assistant<|channel|>final<|text|>' ~ message.content ~ '<|return|>' if loop.last and not add_generation_prompt else '<|begin|>assistant<|channel|>final<|text|>' ~ message.content ~ '<|end|>' -}}{%- endif -%}
{%- elif message.role == 'tool' -%}
    {%- if last_tool.name is none -%}{{- raise_exception('a result without a call') -}}{%- endif -%}
    {{- '<|begin|>' ~ last_tool.name ~ ' to=assistant<|text|>' ~ message.content | tojson ~ '<|end|>' -}}
{%- elif message.role == 'user' or message.role == 'system' -%}{{- '<|begin|>' ~ ('developer' if message.role == 'system' else 'user') ~ '<|text|>' ~ message.content ~ '<|end|>' -}}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}<|begin|>assistant{%- endif -%}""",
    "turns of the model": """{{ bos_token }}{% if messages[0]['role'] == 'system' %}{% set first_user_prefix = messages[0]['content'] + '\n\n' %}{% set loop_messages = messages[1:] %}{% else %}{% set first_user_prefix = "" %}{% set loop_messages = messages %}{% endif %}{% for message in loop_messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception("Roles must go user/assistant/user/assistant/...") }}{% endif %}{% if message['role'] == 'assistant' %}{% set role = 'model' %}{% else %}{% set role = message['role'] %}{% endif %}{{ '<turn>' + role + '\n' + (first_user_prefix if loop.first else "") }}{% if message['content'] is string %}{{ message['content'] | trim }}{% elif message['content'] is iterable %}{% for item in message['content'] %}{% if item['type'] == 'image' %}{{ '<picture>' }}{% elif item['type'] == 'text' %}{{ item['text'] | trim }}{% endif %}{% endfor %}{% else %}{{ raise_exception("Invalid content type") }}{% endif %}{{ '</turn>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<turn>model\n' }}{% endif %}""",
    "names and colons": """{%- set labels = dict(user='HUMAN', assistant='HELPER', system='') -%}
{%- for m in messages -%}
{%- set label = labels.get(m.role, m.role | upper) -%}
{{- label ~ ': ' if label else '' -}}{{- m.content -}}{{- eos_token if m.role == 'assistant' else ('\\n\\n' if m.role == 'system' else ' ') -}}
{%- endfor -%}
{%- if add_generation_prompt %}HELPER:{% endif %}""",
    "headings": """{% set names = {'user': '### Instruction', 'assistant': '### Response', 'system': '### Context'} %}
{% for m in messages %}
{% if m.role not in names %}
{% continue %}
{% endif %}
{{ names[m.role] }}:
{{ m.content | trim }}
{%- if m.role == 'assistant' %}{{ eos_token }}{% endif %}


{% endfor %}
{% if add_generation_prompt %}
### Response:
{% endif %}""",
    "documents": """{{ bos_token }}{%- macro show_document(d, number) -%}
<doc index={{ number }}>
{%- for key, value in d | items if value is not none %}

{{ key | lower }}: {{ value if value is string else value | tojson }}
{%- endfor %}

</doc>
{%- endmacro -%}
{%- if documents is not none and documents | length > 0 -%}
{{ 'Sources:' }}
{%- for d in documents %}

{{ show_document(d, loop.index0) }}
{%- endfor %}

{% elif documents is none %}[no sources]{% else %}[empty list]{% endif %}
{%- for m in messages -%}
<|{{ m.role.upper() }}|>{{ m.content | string | trim }}<|END|>
{%- endfor -%}
{%- if add_generation_prompt %}<|ASSISTANT|>{{ '[cite] ' if documents and citation_mode | default('on') == 'on' }}{% endif %}""",
    "tags around calls": """{%- if tools %}
    {{- '<|s|>system\\n' }}
    {%- if messages[0].role == 'system' %}{{- messages[0].content + '\\n\\n' }}{%- endif %}
    {{- '# Tools\\n\\n<tools>' }}
    {%- for tool in tools %}
        {{- '\\n' }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- '\\n</tools><|e|>\\n' }}
{%- else %}
    {%- if messages[0].role == 'system' %}{{- '<|s|>system\\n' + messages[0].content + '<|e|>\\n' }}{%- endif %}
{%- endif %}
{%- for message in messages %}
    {%- if (message.role == 'user') or (message.role == 'system' and not loop.first) or (message.role == 'assistant' and not message.tool_calls) %}
        {{- '<|s|>' + message.role + '\\n' + message.content + '<|e|>' + '\\n' }}
    {%- elif message.role == 'assistant' %}
        {{- '<|s|>' + message.role }}
        {%- if message.content %}{{- '\\n' + message.content }}{%- endif %}
        {%- for tool_call in message.tool_calls %}
            {%- if tool_call.function is defined %}{%- set tool_call = tool_call.function %}{%- endif %}
            {{- '\\n<call>\\n{"name": "' }}{{- tool_call.name }}{{- '", "arguments": ' }}{{- tool_call.arguments | tojson }}{{- '}\\n</call>' }}
        {%- endfor %}
        {{- '<|e|>\\n' }}
    {%- elif message.role == 'tool' %}
        {%- if (loop.index0 == 0) or (messages[loop.index0 - 1].role != 'tool') %}{{- '<|s|>user' }}{%- endif %}
        {{- '\\n<result>\\n' }}{{- message.content }}{{- '\\n</result>' }}
        {%- if loop.last or (messages[loop.index0 + 1].role != 'tool') %}{{- '<|e|>\\n' }}{%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|s|>assistant\\n' }}{%- endif %}""",
    "state between turns": """{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}{% set ns = namespace(is_first=false, is_tool=false, is_output_first=true, system_prompt='') %}{%- for message in messages %}{%- if message['role'] == 'system' %}{% set ns.system_prompt = ns.system_prompt + ('\n\n' if ns.is_first else '') + message['content'] %}{% set ns.is_first = true %}{%- endif %}{%- endfor %}{{ bos_token }}{{ ns.system_prompt }}{%- for message in messages %}{%- if message['role'] == 'user' %}{%- set ns.is_tool = false -%}{{'[User]' + message['content']}}{%- endif %}{%- if message['role'] == 'assistant' and message['tool_calls'] is defined and message['tool_calls'] is not none %}{%- set ns.is_tool = false -%}{%- for tool in message['tool_calls'] %}{%- if loop.first %}{{'[Assistant][calls][call]' + tool['type'] + '[sep]' + tool['function']['name'] + '\n' + (tool['function']['arguments'] | string)}}{%- else %}{{'\n[call]' + tool['type'] + '[sep]' + tool['function']['name']}}{%- endif %}{%- endfor %}{{'[/calls]'}}{%- endif %}{%- if message['role'] == 'assistant' and message['tool_calls'] is undefined %}{%- if ns.is_tool %}{{'[/outputs]' + message['content'] + eos_token}}{%- set ns.is_tool = false -%}{%- else %}{% set content = message['content'] %}{% if '</think>' in content %}{% set content = content.split('</think>')[-1] %}{% endif %}{{'[Assistant]' + content + eos_token}}{%- endif %}{%- endif %}{%- if message['role'] == 'tool' %}{%- set ns.is_tool = true -%}{%- if ns.is_output_first %}{{'[outputs][output]' + message['content'] + '[/output]'}}{%- set ns.is_output_first = false %}{%- else %}{{'\n[output]' + message['content'] + '[/output]'}}{%- endif %}{%- endif %}{%- endfor -%}{% if ns.is_tool %}{{'[/outputs]'}}{% endif %}{% if add_generation_prompt and not ns.is_tool %}{{'[Assistant]'}}{% endif %}""",
    "bars and tools in system": """{% for message in messages %}{% if message['role'] == 'system' and tools is not none and loop.first %}{{ '|' + message['role'] + '|' + message['content'] + '|tool|' + (tools | map(attribute='function') | map(attribute='name') | join(', ')) + '|/tool|' + '|end|' }}{% elif message['role'] in ['system', 'user', 'assistant', 'tool'] %}{{ '|' + message['role'] + '|' + message['content'] + '|end|' }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '|assistant|' }}{% else %}{{ eos_token }}{% endif %}""",
    "arguments as elements": """{%- macro value_of(v) -%}{{ v if v is string else (v | string | lower if v is boolean else v | tojson) }}{%- endmacro -%}
{%- for m in messages -%}
[{{ m.role }}]
{%- if m.content is string and m.content.strip() %} {{ m.content.strip() }}{% endif %}
{%- for tc in m.tool_calls or [] %}
{%- set f = tc.function or tc %}
<call name="{{ f.name }}">
{%- if f.arguments is mapping %}{% for k, v in f.arguments | dictsort %}
<{{ k }}>{{ value_of(v) }}</{{ k }}>{% endfor %}
{%- elif f.arguments is string %}{{ f.arguments }}{% endif %}
</call>
{%- endfor %}
{% endfor -%}
{%- if add_generation_prompt %}[assistant]{% endif -%}""",
    "neighbours": """{%- for m in messages -%}
{%- if loop.previtem is undefined or loop.previtem.role != m.role -%}<{{ m.role | title }}>{%- else -%}{{ ' + ' }}{%- endif -%}
{{- m.content -}}
{%- if loop.nextitem is not defined or loop.nextitem.role != m.role -%}</{{ m.role.capitalize() }}>{{ '\\n' }}{%- endif -%}
{%- endfor -%}
{{- messages | length }} {{ messages[:1] | length }} {{ messages[-2:] | map(attribute='role') | join('>') }} {{ messages[1:-1] | length }}""",
    "selected messages": """{%- set system_messages = messages | selectattr('role', 'equalto', 'system') | list -%}
{%- set others = messages | rejectattr('role', 'equalto', 'system') | list -%}
{%- set roles = others | map(attribute='role') | reject('equalto', 'tool') | list -%}
{% set intro %}
{%- if system_messages -%}{{ system_messages | map(attribute='content') | join('\\n') | trim }}{%- else -%}Be kind.{%- endif -%}
{% endset %}
<<{{ intro }}>> {{ roles | unique | join('/') }}
{% for m in others if m.content is defined and m.content %}
{%- if m.role == 'tool' and not loop.last %}{% continue %}{% endif %}
{%- if loop.index > 4 %}{{ '...' }}{% break %}{% endif %}
{{ loop.index }}. {{ m.role }}: {{ m.content }}
{% endfor %}
{%- if add_generation_prompt %}{{ (others | length) + 1 }}. assistant:{% endif %}""",
    "marked answers with tools": """{%- set thinks = enable_thinking | default(true) -%}
{{- '<|h|>system\\nDate: ' ~ strftime_now('%d %B %Y') ~ '\\nMode: ' ~ ('/think' if thinks else '/no_think') ~ '\\n' -}}
{%- if messages[0].role == 'system' -%}{{- messages[0].content.rstrip() ~ '\\n' -}}{%- endif -%}
{%- if xml_tools or tools -%}{%- for tool in xml_tools or tools -%}{{- tool | string ~ '\\n' -}}{%- endfor -%}{%- endif -%}
{{- '<|t|>\\n' -}}
{%- for message in messages -%}
    {%- set content = message.content if message.content is string else '' -%}
    {%- if message.role == 'user' -%}
        {{- '<|h|>user\\n' + content + '<|t|>\\n' -}}
    {%- elif message.role == 'assistant' -%}
        {{- '<|h|>assistant\\n' -}}
        {%- generation -%}
        {%- if thinks -%}{{- content.lstrip('\\n') ~ '<|t|>\\n' -}}{%- else -%}{{- '<think>\\n\\n</think>\\n' ~ content.lstrip('\\n') ~ '<|t|>\\n' -}}{%- endif -%}
        {%- endgeneration -%}
    {%- elif message.role == 'tool' -%}
        {{- '<|h|>user\\n' + content + '<|t|>\\n' -}}
    {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|h|>assistant\\n' ~ ('' if thinks else '<think>\\n\\n</think>\\n') -}}{%- endif -%}""",
    "marked words only": """{% for m in messages %}{{ '<' ~ m.role ~ '>' }}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{% endgeneration %}{{ eos_token }}{% else %}{{ m.content }}{% endif %}{{ '\\n' }}{% endfor %}""",
    "tools before the last question": """{%- set ns = namespace(last_user=-1, calls=0) -%}
{%- for m in messages -%}{%- if m.role == 'user' -%}{%- set ns.last_user = loop.index0 -%}{%- endif -%}{%- endfor -%}
{{- bos_token -}}
{%- for m in messages -%}
{%- if m.role == 'system' -%}{{- '[SYS]' ~ m.content ~ '[/SYS]' -}}
{%- elif m.role == 'user' -%}
{%- if tools and loop.index0 == ns.last_user -%}{{- '[TOOLS]' ~ (tools | tojson) ~ '[/TOOLS]' -}}{%- endif -%}
{{- '[Q]' ~ m.content ~ '[/Q]' -}}
{%- elif m.tool_calls -%}
{{- '[CALLS][' -}}
{%- for c in m.tool_calls -%}
{%- set ns.calls = ns.calls + 1 -%}
{%- if c.id is undefined or c.id | length > 9 -%}{{- raise_exception('Tool call IDs should be short strings!') -}}{%- endif -%}
{{- '{"name": ' ~ c.function.name | tojson ~ ', "arguments": ' ~ (c.function.arguments if c.function.arguments is string else c.function.arguments | tojson) ~ ', "id": "' ~ c.id ~ '"}' -}}
{{- ', ' if not loop.last -}}
{%- endfor -%}
{{- ']' ~ eos_token -}}
{%- elif m.role == 'assistant' -%}{{- ' ' ~ m.content.strip() ~ eos_token -}}
{%- elif m.role == 'tool' -%}{{- '[RESULT]' ~ {'content': m.content, 'call_id': m.tool_call_id} | tojson ~ '[/RESULT]' -}}
{%- else -%}{{- raise_exception('Only user, system, tool and assistant roles are supported, got ' + m.role + '.') -}}
{%- endif -%}
{%- endfor -%}{{- ns.calls if ns.calls > 0 -}}""",
    "thinking kept or dropped": """{%- macro split_thoughts(text) -%}{%- if '</think>' in text -%}{{ text.split('</think>', 1)[1].lstrip() }}{%- else -%}{{ text }}{%- endif -%}{%- endmacro -%}
{%- set keep = keep_past_thinking | default(false) -%}
{%- set ns = namespace(last_assistant_index=-1) -%}
{%- for message in messages -%}{%- if message['role'] == 'assistant' -%}{%- set ns.last_assistant_index = loop.index0 -%}{%- endif -%}{%- endfor -%}
{%- for message in messages -%}
{%- set content = message['content'] -%}
{%- if content is not string -%}{%- set content = content | tojson -%}{%- endif -%}
{{- '<|' + message['role'] + '|>\\n' -}}
{%- if message['role'] == 'assistant' and not keep and loop.index0 != ns.last_assistant_index -%}{{- split_thoughts(content) | trim -}}{%- else -%}{{- content -}}{%- endif -%}
{{- '<|end|>\\n' -}}
{%- endfor -%}""",
    "strict": """{%- if messages | length == 0 or messages[0].role not in ['system', 'user'] -%}{{ raise_exception('a conversation begins with the system or the user') }}{%- endif -%}
{%- for m in messages -%}
{%- if m.content is undefined -%}{{ raise_exception('message ' ~ loop.index ~ ' of ' ~ loop.length ~ ' has no content') }}
{%- elif m.content is none or m.content is not string -%}{{ raise_exception('message ' ~ loop.index ~ ' is no text but ' ~ (m.content | tojson)) }}
{%- elif not m.content.strip() -%}{{ raise_exception('message ' ~ loop.index ~ ' is empty') }}
{%- elif m.content.startswith(' ') or m.content.endswith(' ') -%}{{ raise_exception('spaces around') }}
{%- endif -%}
{{ m.role[0] | upper }}{{ loop.index }}{{ m.role[1:] }}={{ m.content }};
{%- endfor -%}""",
    "numbers and flags": """{%- set budget = thinking_budget | default('128') | int -%}
{%- set flag = enable_thinking if enable_thinking is defined and enable_thinking is boolean else none -%}
budget {{ budget }} {{ budget // 3 }} {{ budget % 7 }} {{ budget - 1 }} {{ 'on' if flag is true else 'off' if flag is false else 'unset' }}
{% for m in messages %}
{{ loop.index0 }}{{ '*' if loop.index0 % 2 == 1 }} {{ (m.content | string | length) - 1 }} {{ m.content | string | upper | safe }} {{ m.content is string }}{{ m.content is iterable }}{{ m.content is mapping }}{{ m.content is sequence }}{{ m.content is number }}{{ m.content is integer }}{{ m.content is none }}
{% endfor %}""",
    "words of the content": """{% for m in messages if m.content is string %}{% set words = m.content.split() %}{{ words | length }}:{% for w in words[::-1] %}{{ w.replace('a', '4') }}{{ '' if loop.last else '_' }}{% endfor %}:{{ words | first | default('none', true) }}|{{ (words | last).lower() if words }}|{{ words | join(' ') | truncate(12, true, '..') }}|{{ m.content | replace('\\n', '⏎') }}
{% endfor %}""",
}

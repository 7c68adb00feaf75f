#!/usr/bin/env bash
graft train --model demo-model --data Examples/dates/train.jsonl --output run --max-steps 2 --max-length 64
graft evaluate --model demo-model --adapter run --data Examples/dates/test.jsonl --metrics loss --max-length 64
graft generate --model demo-model --adapter run --prompt 'Write as YYYY-MM-DD: May 2nd, 1999' --max-new-tokens 8
graft inspect run --spectrum
graft merge --model demo-model --adapter run --output merged

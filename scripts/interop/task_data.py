"""Rows of the tasks of models with heads, what transformers' tokenizers make of them, and the right figures.

Written apart from Graft's own encoding: tokenizers of transformers, entities by seqeval, answers by the rules of SQuAD.
"""

from __future__ import annotations

import random
import re
import string
from collections import Counter

import numpy
import torch
from seqeval.metrics import accuracy_score, f1_score, precision_score, recall_score

PEOPLE = ["Ada Lovelace", "Grace Hopper", "Zoë Müller", "Li Wei", "Alan Turing", "Noor"]
PLACES = ["Paris", "New York", "São Paulo", "Oslo", "Kraków"]
FIRMS = ["Acme Corp", "Umbrella", "Stark Industries"]
FRAMES = ["{p} moved to {l} last year .", "In {l} , {p} founded {f} .", "{f} hired {p} .",
          "Nobody in {l} remembers {f} .", "Unbelievably , {p} and {p} met at {f} in {l} ."]


def tag_rows(count, seed):
    """Words with classes of the kind B-TYPE, I-TYPE and O."""
    draw, rows = random.Random(seed), []
    for _ in range(count):
        tokens, labels = [], []
        for word in draw.choice(FRAMES).split():
            kind = {"{p}": ("PER", PEOPLE), "{l}": ("LOC", PLACES), "{f}": ("ORG", FIRMS)}.get(word)
            parts = draw.choice(kind[1]).split() if kind else [word]
            tokens += parts
            labels += [f"B-{kind[0]}"] + [f"I-{kind[0]}"] * (len(parts) - 1) if kind else ["O"]
        rows.append({"tokens": tokens, "labels": labels})
    return rows


def question_rows(count, seed, unanswered=False):
    """Questions about texts of several sentences; some texts have characters of more than a byte."""
    draw, rows = random.Random(seed), []
    for index in range(count):
        sentences, answers = [], []
        for _ in range(draw.randint(1, 6)):
            person, place = draw.choice(PEOPLE), draw.choice(PLACES)
            sentences.append(f"{person} lives in {place} — since {draw.randint(1900, 2020)}.")
            answers.append((person, place))
        context = " ".join(sentences)
        person, place = draw.choice(answers)
        question = f"{'  ' if index % 3 == 0 else ''}Where does {person} live?"
        row = {"question": question, "context": context, "answers": {"text": [], "answer_start": []}}
        if not (unanswered and index % 4 == 0):
            start = context.index(f"{person} lives in {place}") + len(f"{person} lives in ")
            row["answers"] = {"text": [place], "answer_start": [start]}
        rows.append(row)
    return rows


def text_rows(count, seed):
    draw = random.Random(seed)
    return [{"text": draw.choice(FRAMES).format(p=draw.choice(PEOPLE), l=draw.choice(PLACES), f=draw.choice(FIRMS))}
            for _ in range(count)]


# What the tokenizers of transformers make of them


def encode_tags(tokenizer, rows, names, length, space=""):
    """`space` stands before every word, for tokenizers that write it as a part of the word."""
    examples = []
    for row in rows:
        encoded = tokenizer([space + word for word in row["tokens"]], is_split_into_words=True, truncation=True, max_length=length)
        labels, before = [], None
        for word in encoded.word_ids():
            labels.append(-100 if word is None or word == before else names.index(row["labels"][word]))
            before = word
        examples.append({"input_ids": encoded["input_ids"], "labels": labels,
                         "token_type_ids": encoded.get("token_type_ids")})
    return examples


def encode_questions(tokenizer, rows, length, stride):
    """Windows with first and last positions, the number of the row, and offsets of the context's tokens."""
    examples = []
    for number, row in enumerate(rows):
        encoded = tokenizer(row["question"].lstrip(), row["context"], truncation="only_second", max_length=length,
                            stride=stride, return_overflowing_tokens=True, return_offsets_mapping=True)
        for window in range(len(encoded["input_ids"])):
            sequence = encoded.sequence_ids(window)
            offsets = [pair if part == 1 else None for pair, part in zip(encoded["offset_mapping"][window], sequence)]
            inside = [place for place, pair in enumerate(offsets) if pair is not None]
            start = end = 0
            if row["answers"]["text"]:
                first = row["answers"]["answer_start"][0]
                last = first + len(row["answers"]["text"][0])
                if offsets[inside[0]][0] <= first and offsets[inside[-1]][1] >= last:
                    start = max(place for place in inside if offsets[place][0] <= first)
                    end = min(place for place in inside if offsets[place][1] >= last)
            types = encoded["token_type_ids"][window] if "token_type_ids" in encoded else None
            examples.append({"input_ids": encoded["input_ids"][window], "token_type_ids": types, "start_positions": start,
                             "end_positions": end, "row": number, "offsets": offsets})
    return examples


class Mix:
    """SplitMix64, by which Graft chooses what is hidden."""

    MASK = (1 << 64) - 1

    def __init__(self, seed, stream=None):
        self.state = seed & self.MASK
        if stream is not None:
            self.state = (seed ^ Mix(stream).next()) & self.MASK

    def next(self):
        self.state = (self.state + 0x9E3779B97F4A7C15) & self.MASK
        bits = self.state
        bits = ((bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9) & self.MASK
        bits = ((bits ^ (bits >> 27)) * 0x94D049BB133111EB) & self.MASK
        return bits ^ (bits >> 31)

    def share(self):
        return (self.next() >> 11) * 2.0**-53


def encode_texts(tokenizer, rows, length):
    return [{"input_ids": tokenizer(row["text"], truncation=True, max_length=length)["input_ids"]} for row in rows]


def hidden(example, number, epoch, tokenizer, vocabulary, probability, seed):
    """The example with hidden tokens, as Graft's documentation says them."""
    draw = Mix(seed ^ 0x6D61736B, (epoch << 32 | number))
    ids, labels, special = list(example["input_ids"]), [], set(tokenizer.all_special_ids)
    for place, token in enumerate(example["input_ids"]):
        label = -100
        if token not in special and draw.share() < probability:
            label, kind = token, draw.share()
            if kind < 0.8:
                ids[place] = tokenizer.mask_token_id
            elif kind < 0.9:
                ids[place] = (vocabulary * draw.next()) >> 64
        labels.append(label)
    return {"input_ids": ids, "labels": labels}


def collate(examples, pad):
    """Right-padded tensors."""
    length = max(len(example["input_ids"]) for example in examples)

    def filled(values, filling, length=length):
        return values + [filling] * (length - len(values))

    batch = {"input_ids": torch.tensor([filled(example["input_ids"], pad) for example in examples]),
             "attention_mask": torch.tensor([filled([1] * len(example["input_ids"]), 0) for example in examples])}
    if examples[0].get("token_type_ids") is not None:
        batch["token_type_ids"] = torch.tensor([filled(example["token_type_ids"], 0) for example in examples])
    for key in ("start_positions", "end_positions"):
        if key in examples[0]:
            batch[key] = torch.tensor([example[key] for example in examples])
    if "labels" in examples[0]:
        # What a decoder writes has a length of its own.
        longest = max(len(example["labels"]) for example in examples)
        batch["labels"] = torch.tensor([filled(example["labels"], -100, longest) for example in examples])
    return batch


# Figures


def tag_figures(answers, rights, names):
    """By lists of numbers of classes."""
    found, wanted = [[[names[one] for one in row] for row in part] for part in (answers, rights)]
    return {"accuracy": accuracy_score(wanted, found), "precision": precision_score(wanted, found, zero_division=0),
            "recall": recall_score(wanted, found, zero_division=0), "f1": f1_score(wanted, found, zero_division=0)}


def words(text):
    """What SQuAD compares: small letters, no ASCII punctuation, no articles."""
    kept = "".join(one for one in text.lower() if one not in set(string.punctuation))
    return re.sub(r"\b(a|an|the)\b", " ", kept).split()


def answer_figures(answers, rows):
    exact, f1 = [], []
    for answer, row in zip(answers, rows):
        rights = [right for right in row["answers"]["text"] if words(right)] or [""]
        exact.append(max(float(words(answer) == words(right)) for right in rights))
        scores = []
        for right in rights:
            common = sum((Counter(words(answer)) & Counter(words(right))).values())
            if not words(answer) or not words(right):
                scores.append(float(words(answer) == words(right)))
            else:
                scores.append(2 * common / (len(words(answer)) + len(words(right))))
        f1.append(max(scores))
    return {"exact_match": sum(exact) / len(exact), "f1": sum(f1) / len(f1)}


def best_answers(windows, starts, ends, rows, candidates=20, longest=30):
    """The best pair of positions of all windows of each row; none where its score is higher, if rows without are there."""
    allows_none = any(not row["answers"]["text"] for row in rows)
    best, none = [(-1e30, "")] * len(rows), [float("inf")] * len(rows)
    for window, start, end in zip(windows, starts, ends):
        number = window["row"]
        none[number] = min(none[number], float(start[0] + end[0]))
        for first in numpy.argsort(start)[::-1][:candidates]:
            for last in numpy.argsort(end)[::-1][:candidates]:
                spans = window["offsets"]
                if spans[first] is None or spans[last] is None or last < first or last - first + 1 > longest:
                    continue
                score = float(start[first] + end[last])
                if score > best[number][0]:
                    best[number] = (score, rows[number]["context"][spans[first][0]:spans[last][1]])
    return ["" if allows_none and none[k] > best[k][0] else best[k][1] for k in range(len(rows))]

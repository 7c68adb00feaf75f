import Checkpoints
import Foundation
import Layers
import Models
import Tensors

extension PlacedAdapter {
  /// Lists its parameters anew, after a file decided whether it has an encoder.
  func listPromptParameters() {
    guard let prompt else { return }
    parameters =
      prompt.parameters.map { ($0.name, $0) } + replacements.flatMap(\.parameters)
  }

  /// Runs `read` while virtual tokens are numbers of their own, as they are in PEFT's files; then the
  /// encoder takes them over where it can.
  func readingPrompt(
    _ read: () throws(AdapterError) -> LoadReport
  ) throws(AdapterError) -> LoadReport {
    guard let prompt, let place = prompt.place else { return try read() }
    let before = prompt.fixed
    prompt.fixed = place
    listPromptParameters()
    defer { listPromptParameters() }
    do {
      let report = try read()
      if report.matched.contains(promptKey) { prompt.takeFixed() } else { prompt.fixed = before }
      return report
    } catch {
      prompt.fixed = before
      throw error
    }
  }
}

/// The file beside PEFT's that holds the encoder of virtual tokens.
let companionName = "adapter_encoder.safetensors"

extension PeftModel {
  /// Reads what makes virtual tokens, where the directory of a weights file has it.
  func loadCompanion(of adapter: PlacedAdapter, beside weights: String) throws {
    let path =
      weights.split(separator: "/", omittingEmptySubsequences: false).dropLast()
      .joined(separator: "/") + "/" + companionName
    guard let prompt = adapter.prompt,
      (prompt.encoder as? any DerivedPromptEncoder)?.needsCompanion == true,
      FileManager.default.fileExists(atPath: path)
    else { return }
    let file = try SafetensorsFile(path: path)
    let own = prompt.encoder.parameters
    var (report, found) = (LoadReport(), [(parameter: Parameter, tensor: Tensor)]())
    for (name, parameter) in own.map({ ($0.name, $0.parameter) }) {
      let entry = file[name]
      guard report.accepts(name, entry?.shape, as: parameter.value.shape), let entry else {
        continue
      }
      found.append((parameter, try file.tensor(entry)))
    }
    report.unexpected = Set(file.entries.map(\.name)).subtracting(own.map(\.name)).sorted()
    guard report.isComplete else { throw AdapterError.keys(path: path, report: report) }
    let saved = prompt.fixed?.value ?? prompt.derived
    for (parameter, tensor) in found {
      let place = parameter.value.device == .meta ? device : parameter.value.device
      // A copy: the file may be replaced while the model lives.
      parameter.replaceValue(tensor.to(parameter.value.dtype).to(device: place).cloned())
    }
    prompt.fixed = nil
    adapter.listPromptParameters()
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
      !(prompt.encoder is PrefixProjection), let model = base as? any PromptableModel,
      model.promptShape.submoduleCount == 1
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
    begin(prompt, as: found.permuted([3, 0, 1, 2, 4]).reshaped([prompt.length, -1]))
  }

  /// Puts keys and values, `[n, size]`, in the place of virtual tokens.
  private func begin(_ prompt: PlacedPrompt, as rows: Tensor) {
    guard let dtype = prompt.encoder.parameters.first?.parameter.value.dtype else { return }
    let rows = rows.to(dtype).contiguous().cloned()
    switch prompt.encoder {
    case let table as PromptTable: table.table.replaceValue(rows)
    case let encoder as any DerivedPromptEncoder: _ = encoder.take(rows)
    default: preconditionFailure("virtual tokens that cannot begin as a text's")
    }
  }
}

import Layers
import Models
import Tensors

extension AdapterPlacement {
  /// Makes the virtual tokens of a method; they act when the adapter does.
  func placePrompt(
    _ method: any PromptMethod, _ placed: PlacedAdapter, _ generator: Generator
  ) throws(AdapterError) {
    let kind = type(of: method).kind
    guard let model = model as? any PromptableModel else {
      throw .impossible(method: type(of: method).type, what: "put into this model")
    }
    guard kind == .embeddings || model.takesKeysAndValues else {
      throw .impossible(
        method: type(of: method).type,
        what: "put into a \(model.modelType), whose blocks take no keys and values (as in "
          + "transformers); prompt tuning and P-tuning can be")
    }
    // What it begins with is the model's own, also while another adapter acts.
    let wasEnabled = context.isEnabled
    context.isEnabled = false
    defer { context.isEnabled = wasEnabled }
    let site = PromptSite(model, generator: generator, isLoading: isLoading, dtype: dtype)
    let encoder = try method.encoder(for: site)
    let prompt = PlacedPrompt(
      encoder, kind: kind, length: method.tokenCount, shape: model.promptShape, context: context)
    placed.prompt = prompt
    placed.storage = PromptStorage(prompt)
    placed.parameters = encoder.parameters.map { ($0.name, $0) }
    placed.training = encoder.training
    placed.onActivation = { isActive in model.prompt = isActive ? prompt.modelPrompt : nil }
  }

  /// Gives the last blocks what queries gather from too.
  func placeAdaptionPrompt(
    _ config: AdaptionPromptConfig, _ placed: PlacedAdapter, _ generator: Generator
  ) throws(AdapterError) {
    let found = try config.prompts(
      for: model, generator, isLoading: isLoading, dtype: dtype)
    for (path, _, prompt) in found {
      placed.parameters += prompt.parameters.map { (keyPrefix + joined(path, $0.name), $0) }
    }
    placed.onActivation = { isActive in
      for (_, block, prompt) in found {
        if isActive {
          block.extensions.append(prompt)
        } else {
          block.extensions.removeAll { $0 === prompt }
        }
      }
    }
  }

  /// A configuration with what the model decides, as PEFT saves it.
  func filled(
    _ configuration: any AdapterConfiguration
  ) throws(AdapterError) -> any AdapterConfiguration {
    switch configuration {
    case let method as any PromptMethod:
      guard let model = model as? any PromptableModel else { return configuration }
      return try method.filled(for: model.promptShape)
    case let config as AdaptionPromptConfig: return config.filled
    case var config as TrainableTokensConfig:
      if config.targetModules == nil {
        config.targetModules = .pattern(try inputEmbeddings(field: "token_indices"))
      }
      return config
    default: return configuration
    }
  }
}

import Layers
import Models
import Tensors

/// A module that some tokens are trained in.
private struct TokenTarget {
  let path: String
  let indices: [Int]
  let place: Place

  enum Place {
    case embedding(Embedding)
    case linear(Linear)
  }
}

extension AdapterPlacement {
  /// Puts trained rows into the modules of the method's own configuration.
  func placeTokens(
    _ config: TrainableTokensConfig, _ placed: PlacedAdapter, _ generator: Generator
  ) throws(AdapterError) {
    let field = "token_indices"
    var paths: [String]
    switch config.targetModules {
    case .names(let names):
      paths = tokenModules.map(\.path).filter { path in
        names.contains { TargetMatching.matches(path, $0) }
      }
    case .pattern(let pattern):
      paths = tokenModules.map(\.path).filter(
        try regularExpression(pattern, field: "target_modules").matches)
    case .allLinear, nil: paths = []
    }
    guard !paths.isEmpty else {
      throw .noSuchModules(names: [config.targetModules.map { "\($0)" } ?? ""], known: knownNames)
    }
    // A head that is the embeddings' table follows them anyhow.
    let tied = tiedHeads(of: paths)
    paths.removeAll { path in tied.contains { $0.path == path } }
    try put(
      paths.map { ($0, config.tokenIndices) }, infix: "", beginsAsBase: config.beginsAsBase,
      field: field, placed, generator)
  }

  /// Puts trained rows beside a method's layers.
  func placeTokens(
    _ selection: TokenSelection, _ placed: PlacedAdapter, _ generator: Generator
  ) throws(AdapterError) {
    let field = "trainable_token_indices"
    var chosen: [(path: String, indices: [Int])] = []
    for (name, indices) in selection.lists {
      guard let name else {
        chosen.append((try inputEmbeddings(field: field), indices))
        continue
      }
      // PEFT's rule: the end of the path, dot or not.
      let found = tokenModules.map(\.path).filter { !name.isEmpty && $0.hasSuffix(name) }
      guard !found.isEmpty else { throw .noSuchModules(names: [name], known: knownNames) }
      chosen += found.map { ($0, indices) }
    }
    for (path, _) in chosen {
      guard !placed.replacements.contains(where: { $0.path == path }) else {
        throw .configuration(
          field: field, expected: "modules that modules_to_save does not train whole", actual: path)
      }
      guard !placed.targets.contains(path) || model.module(at: path) is Linear else {
        throw .configuration(
          field: field, expected: "embeddings that target_modules does not name", actual: path)
      }
    }
    // Tied tables with the same tokens are trained as one, with others each for itself, as in PEFT.
    let tied = tiedHeads(of: chosen.map(\.path))
    let apart = chosen.filter { path, indices in
      !tied.contains { head in
        head.path == path && chosen.contains { $0.path == head.source && $0.indices == indices }
      }
    }
    try put(
      apart, infix: "token_adapter", beginsAsBase: true, field: field, placed, generator)
  }

  /// Embeddings and linear layers, which tokens can be trained in.
  private var tokenModules: [(path: String, place: TokenTarget.Place)] {
    model.modules().compactMap { path, module in
      switch module {
      case let embedding as Embedding: (path, .embedding(embedding))
      case let linear as Linear: (path, .linear(linear))
      default: nil
      }
    }
  }

  private var knownNames: [String] {
    Set(tokenModules.compactMap { $0.path.split(separator: ".").last.map(String.init) }).sorted()
  }

  func inputEmbeddings(field: String) throws(AdapterError) -> String {
    guard let found = model.modules().first(where: { $0.module is Embedding }) else {
      throw .configuration(field: field, expected: "a model with embeddings", actual: "none")
    }
    return found.path
  }

  /// Linear layers whose weight is the table of one of these embeddings.
  private func tiedHeads(
    of paths: [String]
  ) -> [(path: String, source: String, layer: Linear)] {
    var result: [(path: String, source: String, layer: Linear)] = []
    for (source, place) in tokenModules where paths.contains(source) {
      guard case .embedding(let embedding) = place,
        let table = embedding.unadapted as? DenseTable
      else { continue }
      for case (let path, .linear(let layer)) in tokenModules
      where (layer.unadapted as? DenseProjection)?.weight === table.weight {
        result.append((path, source, layer))
      }
    }
    return result
  }

  private func put(
    _ chosen: [(path: String, indices: [Int])], infix: String, beginsAsBase: Bool, field: String,
    _ placed: PlacedAdapter, _ generator: Generator
  ) throws(AdapterError) {
    let modules = Dictionary(
      tokenModules.map { ($0.path, $0.place) }, uniquingKeysWith: { first, _ in first })
    var targets: [TokenTarget] = []
    for (path, indices) in chosen {
      guard let place = modules[path] else { continue }
      let count =
        switch place {
        case .embedding(let embedding): embedding.table.count
        case .linear(let layer): layer.outputSize
        }
      try checkTokens(indices, field: "\(field) for \(path)", below: count)
      try checkAlone(path, place)
      targets.append(TokenTarget(path: path, indices: indices, place: place))
    }
    let tied = tiedHeads(of: targets.map(\.path)).filter { head in
      !targets.contains { $0.path == head.path }
    }
    var repeats: [(key: String, parameter: Parameter)] = []
    for target in targets {
      let weight =
        switch target.place {
        case .embedding(let embedding):
          embedding.unadapted.denseWeight()
        case .linear(let layer): layer.unadapted.denseWeight()
        }
      let rows = rows(target.indices, of: weight, beginsAsBase: beginsAsBase, generator)
      switch target.place {
      case .embedding(let embedding):
        embedding.adapted(in: context).add(placed.name, TokenEmbeddingAdapter(rows))
      case .linear(let layer):
        layer.adapted(in: context).add(placed.name, TokenHeadAdapter(rows, isTied: false))
      }
      for head in tied where head.source == target.path {
        head.layer.adapted(in: context).add(placed.name, TokenHeadAdapter(rows, isTied: true))
        placed.tokens[head.path] = Set(target.indices)
        // As PEFT writes them for its own method, but not beside others.
        if infix.isEmpty {
          repeats.append((keyPrefix + joined(head.path, "trainable_tokens_delta"), rows.rows))
        }
      }
      let name = joined(infix, "trainable_tokens_delta")
      placed.parameters.append(
        (keyPrefix + joined(target.path, name), AdapterParameter(name, rows.rows)))
      placed.tokens[target.path] = Set(target.indices)
    }
    placed.repeatedKeys.formUnion(repeats.map(\.key))
    if !repeats.isEmpty { placed.storage = RepeatingStorage(repeats) }
  }

  /// Refuses a table that several layers look up in, of which PEFT lets all follow one.
  private func checkAlone(_ path: String, _ place: TokenTarget.Place) throws(AdapterError) {
    guard case .embedding(let embedding) = place, let table = embedding.unadapted as? DenseTable
    else { return }
    for case (let other, .embedding(let layer)) in tokenModules where other != path {
      guard (layer.unadapted as? DenseTable)?.weight === table.weight else { continue }
      throw .impossible(
        method: TrainableTokensConfig.type, what: "put on \(path), whose table \(other) has too")
    }
  }

  private func rows(
    _ indices: [Int], of weight: Tensor, beginsAsBase: Bool, _ generator: Generator
  ) -> TokenRows {
    let dtype = dtype ?? .computing(weight.dtype)
    let places = Tensor(indices, shape: [indices.count]).to(device: weight.device)
    let values = withoutGradients {
      beginsAsBase
        ? weight.detached().selecting(0, places).to(dtype)
        : Tensor.randomNormal([indices.count, weight.size(1)], dtype: dtype, generator: generator)
          .to(device: weight.device)
    }
    return TokenRows(indices, rows: Parameter(values), of: weight.size(0))
  }
}

/// Files have some parameters a second time, under other keys.
private final class RepeatingStorage: AdapterStorage {
  private let repeats: [(key: String, parameter: Parameter)]

  init(_ repeats: [(key: String, parameter: Parameter)]) { self.repeats = repeats }

  func stored(_ tensors: [(key: String, tensor: Tensor)]) -> [(key: String, tensor: Tensor)] {
    tensors + repeats.map { ($0.key, $0.parameter.value) }
  }

  func restored(
    _ tensors: [String: Tensor], _ configuration: any AdapterConfiguration
  ) throws(AdapterError) -> [String: Tensor] { tensors }
}

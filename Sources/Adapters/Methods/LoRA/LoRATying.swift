import Foundation
import JSONValues
import Layers
import Models
import Tensors

/// The embeddings and the output head of a model, where both are one table.
struct TiedTable {
  /// Path of the embeddings.
  let embeddings: String
  /// Path of the output head.
  let head: String

  /// Finds them; nil where the head has a weight of its own.
  init?(_ model: any Module) {
    let modules = model.modules()
    guard let head = (model as? any AdaptableModel)?.outputHeadPath,
      let layer = modules.first(where: { $0.path == head })?.module as? Linear,
      let weight = (layer.unadapted as? DenseProjection)?.weight,
      let found = modules.first(where: { entry in
        ((entry.module as? Embedding)?.unadapted as? DenseTable)?.weight === weight
      })
    else { return nil }
    (self.embeddings, self.head) = (found.path, head)
  }
}

/// What `ensure_weight_tying` keeps together in a model.
enum LoRATie {
  /// One copy of the table is trained whole.
  case saved(TiedTable)
  /// The head's update is the embeddings'.
  case targeted(TiedTable)

  var table: TiedTable {
    switch self {
    case .saved(let table), .targeted(let table): table
    }
  }
}

extension LoRAConfig {
  /// What is kept together; nil where the field is off, nothing is tied, or neither part is meant.
  func tie(in model: any Module) throws(AdapterError) -> LoRATie? {
    if ensuresWeightTying, model is EncoderDecoderForConditionalGeneration {
      throw .impossible(
        method: Self.type,
        what: "put into a model with encoder and decoder with ensure_weight_tying")
    }
    guard ensuresWeightTying, let table = TiedTable(model) else { return nil }
    func isMeant(_ name: String) -> Bool {
      [table.embeddings, table.head].contains { path in
        name.split(separator: ".").last == path.split(separator: ".").last
      }
    }
    if modulesToSave.contains(where: isMeant) { return .saved(table) }
    switch targetModules {
    case .names(let names): return names.contains(where: isMeant) ? .targeted(table) : nil
    case .pattern(let pattern):
      for path in [table.embeddings, table.head] {
        let name = path.split(separator: ".").last.map(String.init) ?? path
        for text in [path, name] {
          let isMeant = try TargetMatching.matches(text, pattern: pattern, field: "target_modules")
          if isMeant { return .targeted(table) }
        }
      }
      return nil
    case .allLinear, nil: return nil
    }
  }

  /// The configuration as PEFT fills it in: the embeddings are named, the head, which follows them, is
  /// not.
  func tied(_ tie: LoRATie) throws(AdapterError) -> LoRAConfig {
    var result = self
    func named(_ names: [String], _ table: TiedTable) -> [String] {
      let own = names.filter { !TargetMatching.matches(table.head, $0) }
      return own.contains { TargetMatching.matches(table.embeddings, $0) }
        ? own : own + [table.embeddings]
    }
    switch tie {
    case .saved(let table): result.modulesToSave = named(modulesToSave, table)
    case .targeted(let table):
      switch targetModules {
      case .names(let names): result.targetModules = .names(named(names, table))
      case .pattern(let pattern):
        let own = NSRegularExpression.escapedPattern(for: table.embeddings)
        let whole = "(?:\(pattern)|^\(own)$)"
        let isThere = try TargetMatching.matches(
          table.embeddings, pattern: pattern, field: "target_modules")
        if !isThere { result.targetModules = .pattern(whole) }
      case .allLinear, nil: break
      }
      let variant = variants.first
      try require(
        "\(variant ?? "") with ensure_weight_tying", variant == nil, "none, as it would part them",
        "set")
      try require(
        "init_lora_weights with ensure_weight_tying", !initialization.changesBase,
        "a start that leaves the base as it is", initialization.json.serialized())
    }
    return result
  }

  /// The same adapter where its updates of embeddings and head are taken for two.
  func untied(_ paths: [String]) -> LoRAConfig {
    var result = self
    result.ensuresWeightTying = false
    result.targetModules = .names(paths)
    return result
  }
}

/// The update of an output head that is the embeddings' update: s B A of the table's rows.
///
/// It has no tensors of its own, so that both stay one in training. In PEFT 0.21.2 they share memory
/// but not gradients, and over a base of half precision neither.
final class TiedLoRA: FactoredAdapter {
  private let embedding: EmbeddingLoRA
  let scale: Double
  let dropout: Double

  init(_ embedding: EmbeddingLoRA, dropout: Double) {
    self.embedding = embedding
    (scale, self.dropout) = (embedding.scale, dropout)
  }

  var parameters: [AdapterParameter] { [] }

  func factors() -> (a: Tensor, b: Tensor) {
    (embedding.b.value.transposed(), embedding.a.value.transposed())
  }
}

/// Files have the head's tensors beside the embeddings', as PEFT writes them.
final class TiedStorage: AdapterStorage {
  private let table: TiedTable

  init(_ table: TiedTable) { self.table = table }

  /// Keys of the embeddings' factors and of the head's that are their transposes.
  private var keys: [(own: String, copy: String)] {
    let (own, copy) = (keyPrefix + table.embeddings, keyPrefix + table.head)
    return [
      (own + ".lora_embedding_B", copy + ".lora_A.weight"),
      (own + ".lora_embedding_A", copy + ".lora_B.weight"),
    ]
  }

  func stored(_ tensors: [(key: String, tensor: Tensor)]) -> [(key: String, tensor: Tensor)] {
    tensors
      + keys.compactMap { own, copy in
        tensors.first { $0.key == own }.map {
          (copy, $0.tensor.detached().transposed().contiguous())
        }
      }
  }

  func restored(
    _ tensors: [String: Tensor], _ configuration: any AdapterConfiguration
  ) throws(AdapterError) -> [String: Tensor] {
    var result = tensors
    for (own, copy) in keys {
      guard let first = tensors[own], let second = result.removeValue(forKey: copy) else {
        continue
      }
      guard first.shape == second.shape.reversed(), first.isEqual(to: second.transposed()) else {
        throw .configuration(
          field: "ensure_weight_tying",
          expected: "false, as \(own) and \(copy) are no transposes of each other", actual: "true")
      }
    }
    return result
  }
}

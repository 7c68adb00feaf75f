import Layers
import Models
import Tensors

/// Trained rows of embedding tables.
extension PeftModel {
  /// Embeddings that have trained rows.
  var tokenTables: [(embedding: Embedding, table: TokenTable)] {
    base.modules().compactMap { entry in
      guard let embedding = entry.module as? Embedding, let table = embedding.table as? TokenTable
      else { return nil }
      return (embedding, table)
    }
  }

  typealias MergedTable = (
    embedding: Embedding, adapted: TokenTable, names: [String], table: DenseTable
  )

  /// The tables that change, each with what it becomes.
  func mergedTables(_ names: [String], safely: Bool) throws(AdapterError) -> [MergedTable] {
    var result: [MergedTable] = []
    for (embedding, adapted) in tokenTables {
      guard let (table, own) = adapted.mergedTable(names) else { continue }
      if safely, !table.weight.value.isAllFinite {
        let path = base.modules().first { $0.module === embedding }?.path ?? ""
        throw .notFinite(module: path, adapter: own.joined(separator: ", "))
      }
      result.append((embedding, adapted, own, table))
    }
    return result
  }

  /// Takes trained rows out but for merged ones; a head that was the same table is so again.
  func unloadTables(_ merged: [MergedTable]) {
    for (embedding, table) in tokenTables { embedding.table = table.base }
    for entry in merged {
      entry.embedding.table = entry.table
      for (_, module) in base.modules() {
        if let head = (module as? Linear)?.projection as? DenseProjection,
          head.weight.value.dtype == entry.table.weight.value.dtype,
          head.weight.value.isEqual(to: entry.table.weight.value)
        {
          head.weight = entry.table.weight
        }
      }
    }
  }

  /// Whether a method's adapters can be merged into weights.
  func isMergeable(_ configuration: any AdapterConfiguration) -> Bool {
    switch configuration {
    case let method as any LayerMethod: type(of: method).isMergeable
    case is any PromptMethod, is AdaptionPromptConfig: false
    default: true
    }
  }

  /// Checks that virtual tokens and trained rows of some adapters can act together.
  func checkTogether(_ chosen: [PlacedAdapter], trainable: Bool) throws(AdapterError) {
    let prompts = chosen.filter { $0.prompt != nil }.map(\.name)
    guard prompts.count < 2 else {
      throw .conflict(
        "\(prompts.joined(separator: " and ")) both put virtual tokens before rows; only one can act"
      )
    }
    if trainable, let fixed = chosen.first(where: { $0.prompt?.fixed != nil }) {
      throw .impossible(
        method: type(of: fixed.configuration).type,
        what:
          "trained further without \(companionName) beside the file, as PEFT does not save what "
          + "makes the virtual tokens")
    }
    var seen: [String: (name: String, rows: Set<Int>)] = [:]
    for adapter in chosen {
      for (path, rows) in adapter.tokens {
        if let other = seen[path], let row = other.rows.intersection(rows).min() {
          throw .conflict("\(other.name) and \(adapter.name) both train token \(row) of \(path)")
        }
        seen[path] = (adapter.name, rows.union(seen[path]?.rows ?? []))
      }
    }
  }
}

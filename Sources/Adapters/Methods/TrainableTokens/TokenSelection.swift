import JSONValues
import Layers
import Tensors

/// Tokens whose embeddings are trained.
public enum TokenSelection: Equatable, Sendable {
  /// Tokens of the input embeddings, and of the output head where that is the same table.
  case inputEmbeddings([Int])
  /// Tokens by the ends of paths of embeddings or linear layers.
  case modules([String: [Int]])

  /// Tokens of each module.
  var lists: [(module: String?, indices: [Int])] {
    switch self {
    case .inputEmbeddings(let indices): [(nil, indices)]
    case .modules(let lists): lists.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
    }
  }
}

/// A method of layers that can train embeddings of tokens beside them.
protocol TokenTraining: LayerConfiguration {
  /// Which tokens; nil for none.
  var trainableTokens: TokenSelection? { get }
}

extension ConfigurationField {
  /// PEFT's `trainable_token_indices`.
  static func tokens(_ path: WritableKeyPath<Configuration, TokenSelection?>) -> Self {
    let key = "trainable_token_indices"
    return Self(
      key,
      read: { (object, reader) throws(AdapterError) in
        guard let value = reader.value(key) else { return }
        guard let lists = value.objectValue else {
          object[keyPath: path] = try reader.integers(key).map(TokenSelection.inputEmbeddings)
          return
        }
        var found: [String: [Int]] = [:]
        for (name, list) in lists {
          let ids = list.arrayValue?.compactMap(\.intValue)
          guard let ids, ids.count == list.arrayValue?.count else {
            throw reader.wrong(key, "lists of whole numbers by module")
          }
          found[name] = ids
        }
        object[keyPath: path] = .modules(found)
      },
      write: { object in
        func list(_ ids: [Int]) -> JSON { .array(ids.map { .integer($0) }) }
        switch object[keyPath: path] {
        case nil: return nil
        case .inputEmbeddings(let ids): return list(ids)
        case .modules(let lists):
          return .object(
            JSONObject(lists.sorted { $0.key < $1.key }.map { ($0.key, list($0.value)) }))
        }
      })
  }
}

/// Checks token indices, of which PEFT says nothing before the first forward pass.
func checkTokens(
  _ indices: [Int], field: String, below count: Int? = nil
) throws(AdapterError) {
  func wrong(_ expected: String, _ actual: String) -> AdapterError {
    .configuration(field: field, expected: expected, actual: actual)
  }
  guard !indices.isEmpty else { throw wrong("at least one token", "none") }
  var seen: Set<Int> = []
  for index in indices {
    guard index >= 0 else { throw wrong("numbers of at least 0", "\(index)") }
    if let count, index >= count {
      throw wrong("numbers below \(count), the table's rows", "\(index)")
    }
    guard seen.insert(index).inserted else { throw wrong("each token once", "\(index) twice") }
  }
}

import JSONValues

/// Special tokens around a text or a pair as two templates say.
struct TemplateProcessor: PostProcessor {
  private enum Part: Sendable {
    case sequence(Int, typeID: Int)
    case special([(token: String, id: Int)], typeID: Int)
  }

  private let single: [Part]
  private let pair: [Part]

  init(_ component: ComponentReader) throws(TokenizerError) {
    single = try Self.template(component, "single", sequences: 1)
    // Files of early versions may lack it; a pair is then two texts side by side.
    pair =
      component.optional("pair") == nil
      ? [.sequence(0, typeID: 0), .sequence(1, typeID: 1)]
      : try Self.template(component, "pair", sequences: 2)
  }

  func addedCount(isPair: Bool) -> Int {
    (isPair ? pair : single).reduce(0) { count, part in
      if case .special(let tokens, _) = part { count + tokens.count } else { count }
    }
  }

  func process(_ encodings: [Encoding], addSpecialTokens: Bool) -> [Encoding] {
    // More than a pair is what another template made of a text.
    var texts = encodings.count <= 2 ? encodings : [Encoding.joining(encodings)]
    return (texts.count == 2 ? pair : single).compactMap { part in
      switch part {
      case .sequence(let index, let typeID):
        texts[index].setTypeID(typeID)
        texts[index].setSequenceID(index)
        return texts[index]
      case .special(let tokens, let typeID):
        guard addSpecialTokens else { return nil }
        var encoding = Encoding()
        for token in tokens { encoding.append(special: token, typeID: typeID) }
        return encoding
      }
    }
  }

  func process(_ ids: [Int]) -> [Int] {
    var result: [Int] = []
    result.reserveCapacity(ids.count + single.count)
    for part in single {
      switch part {
      case .sequence: result += ids
      case .special(let tokens, _): result += tokens.map(\.id)
      }
    }
    return result
  }

  private static func template(
    _ component: ComponentReader, _ key: String, sequences: Int
  ) throws(TokenizerError) -> [Part] {
    var parts: [Part] = []
    for item in try component.elements(key) {
      if let sequence = item.optional("Sequence") {
        let name = try sequence.string("id")
        guard name == "A" || (name == "B" && sequences == 2) else {
          throw sequence.problem(
            sequences == 1
              ? "a template for a single text may only name the sequence A"
              : "the sequence \"\(name)\" is neither A nor B")
        }
        parts.append(.sequence(name == "A" ? 0 : 1, typeID: try typeID(of: sequence)))
      } else if let special = item.optional("SpecialToken") {
        let name = try special.string("id")
        guard let entry = try component.required("special_tokens").optional(name) else {
          throw special.problem("the special token \"\(name)\" is not defined in special_tokens")
        }
        parts.append(.special(try tokens(of: entry, name), typeID: try typeID(of: special)))
      } else {
        throw item.problem("expected a Sequence or a SpecialToken")
      }
    }
    return parts
  }

  private static func typeID(of component: ComponentReader) throws(TokenizerError) -> Int {
    try component.optional("type_id")?.count() ?? 0
  }

  private static func tokens(
    of entry: ComponentReader, _ name: String
  ) throws(TokenizerError) -> [(token: String, id: Int)] {
    let ids = try entry.elements("ids")
    var texts: [String]?
    if entry.optional("tokens") != nil {
      texts = []
      for token in try entry.elements("tokens") { texts?.append(try token.stringValue()) }
    }
    guard texts == nil || texts?.count == ids.count else {
      throw entry.problem("has \(ids.count) ids, but \(texts?.count ?? 0) tokens")
    }
    var result: [(token: String, id: Int)] = []
    for (index, id) in ids.enumerated() {
      result.append((texts?[index] ?? name, try id.count()))
    }
    return result
  }
}

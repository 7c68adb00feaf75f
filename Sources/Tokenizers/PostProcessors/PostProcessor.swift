import JSONValues

/// The special tokens that are put around the ids of a text.
///
/// Only what a single text gets is known here: the ids before it and after it.
struct PostProcessor: Sendable {
  private enum Part: Sendable {
    case text
    case ids([Int])
  }

  /// Templates applied one after the other.
  private var templates: [[Part]] = []

  /// No special tokens.
  init() {}

  /// Reads the object `post_processor`.
  init(_ component: ComponentReader) throws(TokenizerError) {
    let type = try component.type()
    switch type {
    case "TemplateProcessing": templates = [try Self.template(component)]
    case "BertProcessing", "RobertaProcessing":
      let first = try Self.id(inPair: component.required("cls"))
      let last = try Self.id(inPair: component.required("sep"))
      templates = [[.ids([first]), .text, .ids([last])]]
    case "ByteLevel": break  // changes offsets only
    case "Sequence":
      for element in try component.elements("processors") {
        templates += try PostProcessor(element).templates
      }
    default:
      let known = [
        "BertProcessing", "ByteLevel", "RobertaProcessing", "Sequence", "TemplateProcessing",
      ]
      throw component.unknown(type: type, known: known)
    }
  }

  /// Puts the special tokens around the ids of a text.
  func process(_ ids: [Int]) -> [Int] {
    var result = ids
    for template in templates {
      let text = result
      result = []
      result.reserveCapacity(text.count + template.count)
      for part in template {
        switch part {
        case .text: result += text
        case .ids(let special): result += special
        }
      }
    }
    return result
  }

  /// `["[CLS]", 101]`.
  private static func id(inPair component: ComponentReader) throws(TokenizerError) -> Int {
    let pair = try component.elements()
    guard pair.count == 2 else { throw component.problem("expected a token and its id") }
    return try pair[1].integerValue()
  }

  private static func template(_ component: ComponentReader) throws(TokenizerError) -> [Part] {
    var parts: [Part] = []
    for item in try component.elements("single") {
      if let sequence = item.optional("Sequence") {
        guard try sequence.string("id") == "A" else {
          throw sequence.problem("a template for a single text may only name the sequence A")
        }
        parts.append(.text)
      } else if let special = item.optional("SpecialToken") {
        let name = try special.string("id")
        guard let entry = try component.required("special_tokens").optional(name) else {
          throw special.problem("the special token \"\(name)\" is not defined in special_tokens")
        }
        var ids: [Int] = []
        for id in try entry.elements("ids") { ids.append(try id.integerValue()) }
        parts.append(.ids(ids))
      } else {
        throw item.problem("expected a Sequence or a SpecialToken")
      }
    }
    return parts
  }
}

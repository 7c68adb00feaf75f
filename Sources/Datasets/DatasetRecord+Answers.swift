import JSONValues

extension Fields {
  /// A list of words, at least one.
  func words(_ key: String) throws(DatasetError) -> [String] {
    let value = object[key] ?? .null
    guard let list = value.arrayValue else { throw wrongType(key, "an array of words", value) }
    guard !list.isEmpty else { throw .emptyText(at: place, key: key) }
    return try list.enumerated().map { (index, value) throws(DatasetError) in
      guard let word = value.stringValue else {
        throw wrongType("\(key)[\(index)]", "a string", value)
      }
      return word
    }
  }

  /// Answers as SQuAD has them: lists of texts and of places under one key, or a list of pairs.
  ///
  /// Each has to stand in the text where it says.
  func answers(in context: String) throws(DatasetError) -> [RecordAnswer] {
    let value = object["answers"] ?? .null
    var found: [RecordAnswer] = []
    switch value {
    case .null: return []
    case .array(let list):
      for (index, entry) in list.enumerated() {
        let name = "answers[\(index)]"
        guard let fields = entry.objectValue else {
          throw wrongType(name, "an object with text and answer_start", entry)
        }
        found.append(try answer(fields["text"], fields["answer_start"], named: name))
      }
    case .object(let fields):
      guard let texts = fields["text"]?.arrayValue, let starts = fields["answer_start"]?.arrayValue
      else {
        throw wrongType("answers", "an object with the lists text and answer_start", value)
      }
      guard texts.count == starts.count else {
        throw .wrongType(
          at: place, key: "answers.answer_start", expected: "\(texts.count) numbers, one a text",
          actual: "\(starts.count)")
      }
      for (text, start) in zip(texts, starts) {
        found.append(try answer(text, start, named: "answers"))
      }
    default: throw wrongType("answers", "an object with the lists text and answer_start", value)
    }
    let characters = Array(context.unicodeScalars)
    for answer in found {
      let wanted = Array(answer.text.unicodeScalars)
      let end = answer.start + wanted.count
      guard answer.start >= 0, end <= characters.count,
        characters[answer.start..<end].elementsEqual(wanted)
      else {
        throw .wrongType(
          at: place, key: "answers.answer_start",
          expected: "the place of \"\(answer.text)\" in the context, in characters from 0",
          actual: "\(answer.start)")
      }
    }
    return found
  }

  private func answer(
    _ text: JSON?, _ start: JSON?, named name: String
  ) throws(DatasetError) -> RecordAnswer {
    guard let words = text?.stringValue else {
      throw wrongType(name + ".text", "a string", text ?? .null)
    }
    guard !words.isEmpty else { throw .emptyText(at: place, key: name + ".text") }
    guard let place = start?.intValue else {
      throw wrongType(name + ".answer_start", "a whole number", start ?? .null)
    }
    return RecordAnswer(text: words, start: place)
  }
}

import Foundation
import JSONValues
import Testing
import Tokenizers

/// Inputs and files at random; what crashes ends the whole test run.
///
/// `GRAFT_FUZZ=N` makes N times as many.
@Suite("Tokenizers stand whatever they are given")
struct TokenizerRobustnessTests {
  private static let factor =
    ProcessInfo.processInfo.environment["GRAFT_FUZZ"].flatMap { Int($0) } ?? 1

  /// The tokenizer files of all fixtures, as JSON.
  private static func documents() throws -> [(name: String, json: JSON)] {
    let fixtures = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .appendingPathComponent("Fixtures")
    var result: [(String, JSON)] = []
    for name in try FileManager.default.contentsOfDirectory(
      atPath: fixtures.appendingPathComponent("components").path
    ).sorted() {
      let data = try Data(contentsOf: fixtures.appendingPathComponent("components/\(name)"))
      let line = data.prefix { $0 != UInt8(ascii: "\n") }
      result.append((name, try JSON.parse(Data(line), file: name)))
    }
    for name in ["llama2", "qwen2", "words", "affixes", "deepseek"] {
      let path = fixtures.appendingPathComponent("byte-pair/\(name).json").path
      result.append((name, try #require(try JSON.read(path: path)["tokenizer"])))
    }
    return result
  }

  private static let texts = [
    "", " ", "Hello w\u{F6}rld  a\r\n b", "the quick 12 \u{4E2D}\u{6587} \u{301}e", "<s>x</s> word",
    "\u{0}\u{FFFD}\u{10FFFF}\u{1F469}\u{200D}\u{1F4BB}",
    String(repeating: "\u{AC00}\u{11A8}", count: 30),
  ]

  /// Everything that a tokenizer does, on one text.
  private static func exercise(_ tokenizer: Tokenizer, _ text: String) {
    let ids = tokenizer.encode(text)
    _ = tokenizer.decode(ids, skipSpecialTokens: true)
    var decoder = tokenizer.streamingDecoder()
    for id in ids { _ = decoder.append(id) }
    _ = decoder.finish()
    _ = try? tokenizer.encoding(
      of: .text(text), pair: "x y", truncation: Truncation(maximumLength: 9, stride: 1),
      padding: Padding(strategy: .fixed(12)))
  }

  @Test("Random bytes are encoded and decoded, and offsets stay within the text")
  func randomBytes() throws {
    var random = SplitMix(state: 11)
    for (name, json) in try Self.documents() {
      let tokenizer = try Tokenizer(tokenizerJSON: json, file: name)
      for _ in 0..<200 * Self.factor {
        let text = random.text()
        let ids = tokenizer.encode(text)
        let encoding = try tokenizer.encoding(of: .text(text))
        if name != "dropout.jsonl" { #expect(encoding.ids == ids, "\(name)") }
        // Bytes of a model's own suffix have no place in the text.
        guard name != "affixes" else { continue }
        let count = text.unicodeScalars.count
        #expect(
          encoding.offsets.allSatisfy { 0 <= $0.start && $0.start <= $0.end && $0.end <= count },
          "\(name): \(text.debugDescription)")
      }
    }
  }

  @Test("A line of a megabyte takes seconds at most")
  func longLines() throws {
    let count = 1 << 20
    let lines = [
      String(repeating: "a", count: count), String(repeating: " ", count: count),
      String(repeating: "\u{301}", count: count / 2),
      String(repeating: "ab[lr] ", count: count / 7),
      String(repeating: "\u{4E2D}", count: count / 3), String(repeating: "1'", count: count / 2),
    ]
    var random = SplitMix(state: 17)
    for (name, json) in try Self.documents() {
      let tokenizer = try Tokenizer(tokenizerJSON: json, file: name)
      // Bytes at random too, as long as all others only where there is time for it.
      var noise = ""
      while noise.utf8.count < (Self.factor > 1 ? count : count / 32) { noise += random.text() }
      for line in lines + [noise] {
        let start = ContinuousClock.now
        _ = tokenizer.encode(line)
        let elapsed = ContinuousClock.now - start
        #expect(elapsed < .seconds(20), "\(name), \(line.prefix(5))")
      }
    }
  }

  @Test("Files changed at random are used or refused")
  func changedFiles() throws {
    var random = SplitMix(state: 5)
    let documents = try Self.documents()
    var refused = 0
    let rounds = 400 * Self.factor
    for round in 0..<rounds {
      let (name, json) = documents[round % documents.count]
      let changed = (0..<random.below(3) + 1).reduce(json) { json, _ in random.change(json) }
      do {
        let tokenizer = try Tokenizer(tokenizerJSON: changed, file: name)
        for text in Self.texts { Self.exercise(tokenizer, text) }
      } catch {
        refused += 1
        #expect(!error.description.isEmpty)
      }
    }
    #expect(refused > 0 && refused < rounds)
  }

  @Test("Vocabulary files changed at random are used or refused")
  func changedVocabularies() throws {
    let fixture = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .appendingPathComponent("Fixtures/vocabulary-files.json")
    let cases = try JSON.read(path: fixture.path)["cases"]?.arrayValue ?? []
    let directory = FileManager.default.temporaryDirectory
      .appendingPathComponent("changed-" + UUID().uuidString)
    defer { try? FileManager.default.removeItem(at: directory) }
    var random = SplitMix(state: 23)
    var refused = 0
    let rounds = 120 * Self.factor
    for round in 0..<rounds {
      try? FileManager.default.removeItem(at: directory)
      try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
      let files = try #require(cases[round % cases.count]["files"]?.objectValue)
      let chosen = random.below(files.count)
      for (index, (name, content)) in files.enumerated() {
        var bytes: [UInt8]
        if let code = content["base64"]?.stringValue {
          bytes = Array(try #require(Data(base64Encoded: code)))
        } else if content.objectValue != nil {
          let changed = index == chosen ? random.change(content) : content
          bytes = Array(changed.serialized().utf8)
        } else {
          bytes = Array((content.stringValue ?? "").utf8)
        }
        if index == chosen, content.objectValue == nil || content["base64"] != nil {
          for _ in 0..<random.below(4) + 1 where !bytes.isEmpty {
            bytes[random.below(bytes.count)] = UInt8(random.below(256))
          }
          if random.below(6) == 0 { bytes.removeLast(random.below(bytes.count)) }
        }
        try Data(bytes).write(to: directory.appendingPathComponent(name))
      }
      do {
        let tokenizer = try Tokenizer(directory: directory.path)
        for text in Self.texts { Self.exercise(tokenizer, text) }
      } catch {
        refused += 1
        #expect(!"\(error)".isEmpty)
      }
    }
    #expect(refused > 0 && refused < rounds)
  }

  @Test("Bytes of a SentencePiece model changed at random are used or refused")
  func changedModels() {
    // Three pieces, the unknown one first: BPE with neither prefix nor squeezing.
    var model: [UInt8] = [0x0A, 0x09, 0x0A, 0x05, 0x3C, 0x75, 0x6E, 0x6B, 0x3E, 0x18, 0x02]
    model += [0x0A, 0x08, 0x0A, 0x01, 0x61, 0x15, 0x00, 0x00, 0x00, 0x00] as [UInt8]
    model += [0x0A, 0x08, 0x0A, 0x01, 0x62, 0x15, 0x00, 0x00, 0x80, 0xBF] as [UInt8]
    model += [0x0A, 0x09, 0x0A, 0x02, 0x61, 0x62, 0x15, 0x00, 0x00, 0x00, 0xC0] as [UInt8]
    model += [0x12, 0x02, 0x18, 0x02, 0x1A, 0x04, 0x18, 0x00, 0x20, 0x00] as [UInt8]
    let ids = (try? Tokenizer(sentencePieceModel: model))?.encode("abaxb")
    #expect(ids == [3, 1, 0, 2])
    var random = SplitMix(state: 3)
    var refused = 0
    for _ in 0..<500 * Self.factor {
      var bytes = model
      for _ in 0..<random.below(3) + 1 {
        bytes[random.below(bytes.count)] = UInt8(random.below(256))
      }
      if random.below(4) == 0 { bytes.removeLast(random.below(bytes.count)) }
      guard let tokenizer = try? Tokenizer(sentencePieceModel: bytes) else {
        refused += 1
        continue
      }
      for text in Self.texts { Self.exercise(tokenizer, text) }
    }
    #expect(refused > 0)
  }
}

/// A small generator with a seed.
private struct SplitMix {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var value = state
    value = (value ^ value >> 30) &* 0xBF58_476D_1CE4_E5B9
    value = (value ^ value >> 27) &* 0x94D0_49BB_1331_11EB
    return value ^ value >> 31
  }

  mutating func below(_ limit: Int) -> Int { Int(next() % UInt64(max(limit, 1))) }

  /// Bytes, characters or both.
  mutating func text() -> String {
    var bytes: [UInt8] = []
    for _ in 0..<below(40) {
      switch below(4) {
      case 0: bytes.append(UInt8(below(256)))
      case 1: bytes += Array("aeiou thst,.'0123\n\t".utf8).shuffledPart(below(18))
      case 2: bytes += Array((Unicode.Scalar(UInt32(below(0x11_0000))) ?? " ").utf8)
      default: bytes += Array((Unicode.Scalar(UInt32(below(0x3000))) ?? " ").utf8)
      }
    }
    return String(decoding: bytes, as: UTF8.self)
  }

  /// A JSON value in which one member or element, at any depth, is another one.
  mutating func change(_ json: JSON) -> JSON {
    switch json {
    case .object(let object) where object.count > 0 && below(8) > 0:
      var object = object
      let key = object.keys[below(object.count)]
      let value = object[key] ?? .null
      if below(12) == 0 { object[key + "x"] = value }
      object[key] = change(value)
      return .object(object)
    case .array(var items) where !items.isEmpty && below(8) > 0:
      let index = below(items.count)
      if below(4) == 0 {
        items.remove(at: index)
      } else {
        items[index] = change(items[index])
      }
      return .array(items)
    case .string(let text):
      return below(2) == 0 ? .string(text + self.text()) : other()
    case .integer(let value):
      return below(2) == 0 ? .integer(value &+ below(7) &- 3) : other()
    case .bool(let value): return below(4) > 0 ? .bool(!value) : other()
    default: return other()
    }
  }

  private mutating func other() -> JSON {
    switch below(9) {
    case 0: .null
    case 1: .bool(below(2) == 0)
    case 2: .integer(below(300) - 20)
    case 3: .integer(Int.max - below(3))
    case 4: .number(-1.5)
    case 5: .string(text())
    case 6: .string(["", "Sequence", "BPE", "Regex", "(", "\\p{L}+", "AAAAAAAA"][below(7)])
    case 7: []
    default: .object(JSONObject())
    }
  }
}

extension [UInt8] {
  fileprivate func shuffledPart(_ start: Int) -> ArraySlice<UInt8> {
    self[Swift.min(start, count)...].prefix(4)
  }
}

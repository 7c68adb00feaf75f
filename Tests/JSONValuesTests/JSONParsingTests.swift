import Foundation
import JSONValues
import Testing

@Suite("Reading JSON")
struct JSONParsingTests {
  @Test("Every kind of value is read")
  func kinds() throws {
    let text = #" {"a": [null, true, false, -12, 0.5, "x"], "b": {}, "c": []} "#
    let expected: JSON = ["a": [nil, true, false, -12, 0.5, "x"], "b": [:], "c": []]
    #expect(try JSON.parse(text) == expected)
    #expect(try JSON.parse("7") == 7)
    #expect(try JSON.parse("\u{FEFF}\"s\"") == "s")
  }

  @Test("Integers at the ends of 64 bits stay integers, larger ones become numbers")
  func integers() throws {
    #expect(try JSON.parse("9223372036854775807") == .integer(.max))
    #expect(try JSON.parse("-9223372036854775808") == .integer(.min))
    #expect(try JSON.parse("9223372036854775808") == .number(0x1p63))
    #expect(try JSON.parse("1000000000000000019884624838656") == .number(1e30))
    #expect(try JSON.parse("-0") == 0)
    #expect(try JSON.parse("1e400") == .number(.infinity))
    #expect(try JSON.parse("-1e400") == .number(-.infinity))
  }

  @Test("Keys keep their order and are compared by bytes")
  func keys() throws {
    let value = try JSON.parse("{\"z\":1,\"e\u{301}\":2,\"\u{E9}\":3,\"a\":4,\"z\":5}")
    let object = try #require(value.objectValue)
    #expect(
      object.keys.map { Array($0.utf8) } == ["z", "e\u{301}", "\u{E9}", "a"].map { Array($0.utf8) })
    #expect(value["z"] == 5)
    #expect(value["e\u{301}"] == 2)
    #expect(value["\u{E9}"] == 3)
    #expect(JSON.string("e\u{301}") != JSON.string("\u{E9}"))
  }

  @Test("A duplicate key is an error when the caller says so")
  func duplicates() {
    #expect(throws: JSONError.duplicateKey(file: "f", key: "a", offset: 7)) {
      try JSON.parse("{\"a\":1,\"a\":2}", file: "f", rejectDuplicateKeys: true)
    }
  }

  @Test(
    "Malformed text is refused",
    arguments: [
      "", " ", "{", "[", "]", "1]", "],[", "1,2", "[1,]", "{\"a\":1,}", "[1 2]", "{\"a\" 1}",
      "{a:1}", "nul", "truex", "[true1]", "01", "1.", ".5", "1e", "+1", "--1", "NaN", "Infinity",
      "\"a", "\"\\x\"", "\"\\u12\"", "\"\\ud83d\"", "\"\\ude00\"", "\"\\ud83dx\"", "\"\u{1}\"",
      "[1]//", "[1]\0", "{\"a\":1,,\"b\":2}", "[\"a\"x]", "'a'",
    ])
  func malformed(text: String) {
    #expect(throws: JSONError.self) { try JSON.parse(text) }
  }

  @Test("Errors say where reading stopped")
  func offsets() {
    #expect(
      throws: JSONError.malformed(file: "f.json", problem: "an invalid number", offset: 6)
    ) {
      try JSON.parse("{\"a\": 01}", file: "f.json")
    }
    let invalid = Data([0x22, 0x61, 0xC3, 0x28, 0x22])
    #expect(
      throws: JSONError.malformed(
        file: "", problem: "a byte sequence that is not UTF-8", offset: 2)
    ) {
      try JSON.parse(invalid)
    }
    #expect(throws: JSONError.missing(file: "/nowhere/x.json")) {
      try JSON.read(path: "/nowhere/x.json")
    }
  }

  @Test("512 nested arrays are read, 513 are refused, and so are a million")
  func depth() throws {
    let nested = { (count: Int) in
      String(repeating: "[", count: count) + String(repeating: "]", count: count)
    }
    _ = try JSON.parse(nested(512))
    for count in [513, 1_000_000] {
      #expect {
        try JSON.parse(nested(count))
      } throws: {
        if case .tooDeep(_, 512, _)? = $0 as? JSONError { true } else { false }
      }
    }
    #expect(throws: JSONError.self) { try JSON.parse(String(repeating: "[", count: 1_000_000)) }
  }

  @Test("Every prefix of a document is refused, none crashes")
  func prefixes() throws {
    let text = Data(#"{"k\u00e9y": [1, -2.5e3, "a\ud83d\ude00b", {"x": null}], "y": false}"#.utf8)
    _ = try JSON.parse(text)
    for count in 0..<text.count {
      #expect(throws: JSONError.self) { try JSON.parse(text.prefix(count)) }
    }
  }

  @Test("A large object finds every key")
  func largeObject() throws {
    let text = "{" + (0..<5000).map { "\"key\($0)\": \($0)" }.joined(separator: ",") + "}"
    var object = try #require(try JSON.parse(text).objectValue)
    #expect(object.count == 5000)
    #expect((0..<5000).allSatisfy { object["key\($0)"] == .integer($0) })
    object["key17"] = nil
    #expect(object["key17"] == nil)
    #expect(object["key4999"] == 4999)
    object["new"] = "x"
    #expect(object.keys.last == "new")
  }
}

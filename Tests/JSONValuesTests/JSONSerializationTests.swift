import JSONValues
import Testing

/// The expected texts were printed by Python 3.11's `json.dumps`.
@Suite("Writing JSON")
struct JSONSerializationTests {
  @Test("Numbers are spelled as Python's repr spells them")
  func numbers() {
    let spellings: [(Double, String)] = [
      (1e-05, "1e-05"), (0.0001, "0.0001"), (0.00012345, "0.00012345"), (1.5e-7, "1.5e-07"),
      (1e16, "1e+16"), (1e15, "1000000000000000.0"), (9_999_999_999_999_998, "9999999999999998.0"),
      (1e22, "1e+22"), (0.1, "0.1"), (-0.0, "-0.0"), (0, "0.0"), (1, "1.0"), (-2.5, "-2.5"),
      (123_456_789_012_345_680, "1.2345678901234568e+17"), (.leastNonzeroMagnitude, "5e-324"),
      (1.7976931348623157e308, "1.7976931348623157e+308"), (1e100, "1e+100"),
      (1e30, "1e+30"), (100, "100.0"), (12345.678, "12345.678"), (1.0 / 3, "0.3333333333333333"),
      (.nan, "NaN"), (.infinity, "Infinity"), (-.infinity, "-Infinity"),
    ]
    for (number, spelling) in spellings {
      #expect(JSON.number(number).serialized() == spelling)
    }
    #expect(JSON.integer(.min).serialized() == "-9223372036854775808")
  }

  @Test("Strings are escaped as Python escapes them")
  func strings() {
    let text = "\"\\/\u{8}\u{c}\n\r\t\u{1}\u{7f}\u{e9}\u{2028}\u{1F600}"
    #expect(
      JSON.string(text).serialized()
        == #""\"\\/\b\f\n\r\t\u0001\u007f\u00e9\u2028\ud83d\ude00""#)
    #expect(
      JSON.string(text).serialized(escapeNonASCII: false)
        == "\"\\\"\\\\/\\b\\f\\n\\r\\t\\u0001\u{7f}\u{e9}\u{2028}\u{1F600}\"")
  }

  @Test("Layout follows indent, separators and key order")
  func layout() {
    let value: JSON = ["b": [1, [], [:]], "a": ["x": nil, "X": true]]
    #expect(value.serialized() == #"{"b": [1, [], {}], "a": {"x": null, "X": true}}"#)
    #expect(
      value.serialized(sortedKeys: true, separators: (item: ",", key: ":"))
        == #"{"a":{"X":true,"x":null},"b":[1,[],{}]}"#)
    #expect(
      value.serialized(indent: 2, sortedKeys: true) == """
        {
          "a": {
            "X": true,
            "x": null
          },
          "b": [
            1,
            [],
            {}
          ]
        }
        """)
    #expect(JSON.array([1, 2]).serialized(indent: 0) == "[\n1,\n2\n]")
  }

  @Test("Keys are sorted by code point, not by locale or UTF-16 unit")
  func sorting() {
    let value: JSON = ["\u{1F600}": 1, "\u{FFFD}": 2, "Z": 3, "a": 4]
    #expect(
      value.serialized(sortedKeys: true) == #"{"Z": 3, "a": 4, "\ufffd": 2, "\ud83d\ude00": 1}"#)
  }

  @Test("What is written reads back as the same value")
  func roundTrip() throws {
    let value: JSON = [
      "a": [1, 2.5, "e\u{301}\u{0}\r\n", nil, false], "": ["\u{10FFFF}": -1e-300],
    ]
    for indent in [nil, 0, 3] {
      for escape in [true, false] {
        let text = value.serialized(indent: indent, escapeNonASCII: escape)
        #expect(try JSON.parse(text) == value)
      }
    }
  }
}

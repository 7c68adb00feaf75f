import Datasets
import Testing

@Suite("Labels")
struct LabelSetTests {
  private let place = RecordLocation(file: "data", line: 1)

  @Test("Names are sorted by bytes, numbers count up from 0")
  func collecting() throws {
    let names = try LabelSet(
      of: records(
        ["no", "yes", "Maybe", "no"].map { "{\"text\": \"a\", \"label\": \"\($0)\"}" }
          .joined(separator: "\n")))
    #expect(names.names == ["Maybe", "no", "yes"])
    #expect(try names.index(of: .name("yes"), at: place) == 2)
    #expect(try names.index(of: .index(0), at: place) == 0)
    let numbers = try LabelSet(of: records(#"{"text": "a", "label": 2}"#))
    #expect(numbers.names == ["LABEL_0", "LABEL_1", "LABEL_2"])
    #expect(try numbers.index(of: .index(1), at: place) == 1)
  }

  @Test("Names that only look alike are different")
  func bytes() throws {
    let labels = LabelSet(names: ["\u{E9}", "e\u{301}"])
    #expect(try labels.index(of: .name("e\u{301}"), at: place) == 1)
  }

  @Test("Unknown and mixed labels are refused")
  func refusals() throws {
    let labels = LabelSet(names: ["no", "yes"])
    for label in [.name("perhaps"), .index(2), .index(-1), .value(0.5)] as [RecordLabel] {
      #expect(
        throws: DatasetError.unknownLabel(
          at: place, label: label.description, known: ["no", "yes"])
      ) { try labels.index(of: label, at: place) }
    }
    for lines in [
      "{\"text\": \"a\", \"label\": 1}\n{\"text\": \"a\", \"label\": \"b\"}",
      "{\"text\": \"a\", \"label\": \"b\"}\n{\"text\": \"a\", \"label\": 1}",
      "{\"text\": \"a\", \"label\": 0}\n{\"text\": \"a\", \"label\": -1}",
    ] {
      let error = #expect(throws: DatasetError.self) { try LabelSet(of: records(lines)) }
      guard case .wrongType(let place, "label", _, _) = error else {
        Issue.record("\(String(describing: error))")
        continue
      }
      #expect(place.line == 2)
    }
  }
}

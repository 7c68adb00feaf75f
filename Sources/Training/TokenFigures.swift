import Models

/// How right the classes of tokens are.
///
/// Where the classes are "O", "B-TYPE" and "I-TYPE" (IOB2), what counts are the entities: parts of a text
/// of one type, from a B, or an I that goes on with nothing, to the last I of the type behind it.
/// Precision, recall and F1 are of all entities together ("micro"); one is right when its borders and its
/// type are. Of other classes F1 is the mean over those that occur ("macro").
///
/// Source: the default mode of seqeval.
public struct TokenFigures: Equatable, Sendable {
  /// Share of tokens that are right.
  public let accuracy: Double
  /// Share of the entities found that are right; nil for other classes.
  public let precision: Double?
  /// Share of the right entities that were found; nil for other classes.
  public let recall: Double?
  /// 2 precision recall / (precision + recall), or the mean F1 of the classes.
  public let f1: Double
  /// F1 of each type of entities, or of each class, by name.
  public let f1PerClass: [(name: String, value: Double)]

  /// Compares.
  ///
  /// - Parameters:
  ///   - answers: Numbers of classes for each row.
  ///   - rights: As many right ones.
  ///   - names: Names of the classes.
  public init(answers: [[Int]], rights: [[Int]], names: [String]) {
    precondition(
      zip(answers, rights).allSatisfy { $0.count == $1.count }, "TokenFigures: rows differ")
    let pairs = zip(answers.joined(), rights.joined())
    let count = rights.reduce(0) { $0 + $1.count }
    accuracy = Double(pairs.count { $0 == $1 }) / Double(max(count, 1))
    guard let tags = Self.tags(of: names) else {
      let single = ClassificationFigures(
        scores: answers.joined().map { answer in names.indices.map { $0 == answer ? 1 : 0 } },
        targets: rights.joined().map { [Double($0)] }, problem: .singleLabel)
      (precision, recall) = (nil, nil)
      f1 = single.f1 ?? 0
      f1PerClass = Array(zip(names, single.f1PerClass)).map { ($0, $1) }
      return
    }
    func entities(_ rows: [[Int]]) -> Set<Entity> {
      Set(rows.enumerated().flatMap { Self.entities($0.element.map { tags[$0] }, row: $0.offset) })
    }
    let (found, right) = (entities(answers), entities(rights))
    let total = Self.figures(found, right)
    (precision, recall, f1) = (total.precision, total.recall, total.f1)
    let types = Set(found.map(\.type)).union(right.map(\.type)).sorted()
    f1PerClass = types.map { type in
      (type, Self.figures(found.filter { $0.type == type }, right.filter { $0.type == type }).f1)
    }
  }

  /// Names and figures.
  public var all: [(name: String, value: Double)] {
    [("accuracy", accuracy), ("precision", precision), ("recall", recall), ("f1", f1)]
      .compactMap { name, value in value.map { (name, $0) } }
  }

  /// Compares all figures.
  ///
  /// - Parameters:
  ///   - left: Figures.
  ///   - right: Others.
  /// - Returns: Whether all are equal.
  public static func == (left: TokenFigures, right: TokenFigures) -> Bool {
    left.all.elementsEqual(right.all) { $0 == $1 }
      && left.f1PerClass.elementsEqual(right.f1PerClass) { $0 == $1 }
  }

  private struct Entity: Hashable {
    let row: Int
    let start: Int
    let end: Int
    let type: String
  }

  private struct Tag {
    /// "B", "I" or "O".
    let kind: Character
    let type: String
  }

  /// What the names of IOB2 mean; nil for other classes.
  private static func tags(of names: [String]) -> [Tag]? {
    guard names.contains(where: { $0.hasPrefix("B-") }) else { return nil }
    var tags: [Tag] = []
    for name in names {
      if name == "O" {
        tags.append(Tag(kind: "O", type: ""))
      } else if name.hasPrefix("B-") || name.hasPrefix("I-") {
        tags.append(Tag(kind: name.first ?? "O", type: String(name.dropFirst(2))))
      } else {
        return nil
      }
    }
    return tags
  }

  private static func entities(_ tags: [Tag], row: Int) -> [Entity] {
    var found: [Entity] = []
    var start: Int?
    var before = Tag(kind: "O", type: "")
    for (place, tag) in (tags + [Tag(kind: "O", type: "")]).enumerated() {
      let goesOn = tag.kind == "I" && before.kind != "O" && before.type == tag.type
      if let first = start, !goesOn {
        found.append(Entity(row: row, start: first, end: place, type: before.type))
        start = nil
      }
      if tag.kind != "O", !goesOn { start = place }
      before = tag
    }
    return found
  }

  private static func figures(
    _ found: Set<Entity>, _ right: Set<Entity>
  ) -> (precision: Double, recall: Double, f1: Double) {
    let both = Double(found.intersection(right).count)
    let precision = found.isEmpty ? 0 : both / Double(found.count)
    let recall = right.isEmpty ? 0 : both / Double(right.count)
    let sum = precision + recall
    return (precision, recall, sum > 0 ? 2 * precision * recall / sum : 0)
  }
}

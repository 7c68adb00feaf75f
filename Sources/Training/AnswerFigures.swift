/// How right answers in words are, as SQuAD's own program measures it.
///
/// Answers are compared without case, ASCII punctuation, the words a, an and the, and white space
/// between words. F1 is that of the words that an answer has in common with the right one; of several
/// right answers the best counts. A question without an answer is right where nothing was answered.
///
/// Source: Rajpurkar et al. 2018, arXiv 1806.03822.
public struct AnswerFigures: Equatable, Sendable {
  /// Share of answers that are the same as a right one.
  public let exactMatch: Double
  /// Mean F1.
  public let f1: Double

  /// Compares.
  ///
  /// - Parameters:
  ///   - answers: One for each question, empty for none.
  ///   - rights: Right answers of each; empty where there is none.
  public init(answers: [String], rights: [[String]]) {
    precondition(answers.count == rights.count, "AnswerFigures: \(answers.count) answers")
    let found = zip(answers, rights).map { answer, right in
      // A right answer of nothing but articles and punctuation says nothing.
      let kept = right.filter { !Self.normalized($0).isEmpty }
      let candidates = kept.isEmpty ? [""] : kept
      let exact = candidates.contains { Self.normalized($0) == Self.normalized(answer) }
      return (exact, candidates.map { Self.f1(answer, $0) }.max() ?? 0)
    }
    let count = Double(max(found.count, 1))
    exactMatch = Double(found.count(where: \.0)) / count
    f1 = found.reduce(0) { $0 + $1.1 } / count
  }

  /// Names and figures.
  public var all: [(name: String, value: Double)] { [("exact_match", exactMatch), ("f1", f1)] }

  /// What is compared: the words of an answer.
  static func normalized(_ text: String) -> [String] {
    let punctuation = Set("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~".unicodeScalars)
    var words = String.UnicodeScalarView()
    var run = String.UnicodeScalarView()
    func isWord(_ scalar: Unicode.Scalar) -> Bool {
      switch scalar.properties.generalCategory {
      case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter:
        true
      default: scalar.properties.numericType != nil
      }
    }
    func end() {
      words.append(contentsOf: ["a", "an", "the"].contains(String(run)) ? " ".unicodeScalars : run)
      run = String.UnicodeScalarView()
    }
    for scalar in text.lowercased().unicodeScalars where !punctuation.contains(scalar) {
      if isWord(scalar) {
        run.append(scalar)
      } else {
        end()
        words.append(scalar)
      }
    }
    end()
    return String(words).split(whereSeparator: \.isWhitespace).map(String.init)
  }

  private static func f1(_ answer: String, _ right: String) -> Double {
    let (found, wanted) = (normalized(answer), normalized(right))
    guard !found.isEmpty, !wanted.isEmpty else { return found == wanted ? 1 : 0 }
    var left: [String: Int] = [:]
    for word in wanted { left[word, default: 0] += 1 }
    var common = 0
    for word in found where left[word, default: 0] > 0 {
      left[word, default: 0] -= 1
      common += 1
    }
    guard common > 0 else { return 0 }
    let (precision, recall) = (
      Double(common) / Double(found.count), Double(common) / Double(wanted.count)
    )
    return 2 * precision * recall / (precision + recall)
  }
}

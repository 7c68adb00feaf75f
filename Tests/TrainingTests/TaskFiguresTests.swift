import Datasets
import Testing
import Training

/// How right classes of tokens and answers are.
@Suite struct TaskFiguresTests {
  private let names = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]

  /// The figures are seqeval 1.2.2's.
  @Test func entitiesCountWhole() {
    // PER 0-2 and LOC 3-4 are right; the answer has PER 0-1, an I that begins a LOC, and PER behind it.
    let right = [[1, 2, 0, 3], [0, 3, 4, 0]]
    let answer = [[1, 0, 0, 3], [0, 4, 4, 2]]
    let figures = TokenFigures(answers: answer, rights: right, names: names)
    #expect(figures.accuracy == 5.0 / 8)
    // Found: PER [0, 1), LOC [3, 4), LOC [1, 3), PER [3, 4); right: PER [0, 2), LOC [3, 4), LOC [1, 3).
    #expect(figures.precision == 0.5)
    #expect(figures.recall == 2.0 / 3)
    #expect(abs(figures.f1 - 4.0 / 7) < 1e-12)
    #expect(figures.f1PerClass.map(\.name) == ["LOC", "PER"])
    #expect(figures.f1PerClass.map(\.value) == [1, 0])
  }

  @Test func aChangeOfTypeAndABEndEntities() {
    func count(_ tags: [Int]) -> Double? {
      TokenFigures(answers: [tags], rights: [tags], names: names).recall
    }
    #expect(count([0, 0]) == 0)
    #expect(count([2, 4, 2]) == 1)
    // B B are two entities, I-PER behind B-LOC is another one.
    let figures = TokenFigures(
      answers: [[1, 1, 2, 3, 2]], rights: [[1, 2, 2, 3, 4]], names: names)
    #expect(figures.precision == 0)
    #expect(TokenFigures(answers: [[1, 1]], rights: [[1, 2]], names: names).precision == 0)
  }

  @Test func otherClassesHaveAMeanF1() {
    let figures = TokenFigures(
      answers: [[0, 1, 1], [2]], rights: [[0, 0, 1], [2]], names: ["x", "y", "z"])
    #expect(figures.precision == nil && figures.recall == nil)
    #expect(figures.accuracy == 0.75)
    #expect(abs(figures.f1 - (2.0 / 3 + 2.0 / 3 + 1) / 3) < 1e-12)
  }

  /// As SQuAD's own program has them.
  @Test func answersAreComparedByWords() {
    func figures(_ answer: String, _ rights: String...) -> AnswerFigures {
      AnswerFigures(answers: [answer], rights: [rights])
    }
    #expect(figures("The  Cat!", "a cat").exactMatch == 1)
    #expect(figures("theatre", "atre").exactMatch == 0)
    #expect(figures("U.S.A", "usa").exactMatch == 1)
    let some = figures("the black cat sat", "cat black dog", "nothing")
    #expect(some.exactMatch == 0)
    #expect(abs(some.f1 - 2.0 * (2.0 / 3) * (2.0 / 3) / (4.0 / 3)) < 1e-12)
    #expect(figures("", "x").f1 == 0)
    #expect(figures("").exactMatch == 1 && figures("").f1 == 1)
    #expect(figures("x").f1 == 0)
    // Words that occur twice are right as often as they stand in the right answer.
    #expect(abs(figures("go go go", "go go stop").f1 - 2.0 / 3) < 1e-12)
  }

  @Test func theBestSpanOfAllWindowsIsTheAnswer() {
    func window(_ record: Int, _ spans: [Range<Int>?]) -> QuestionAnsweringEncoder.Window {
      QuestionAnsweringEncoder.Window(
        example: TokenizedExample(ids: Array(repeating: 0, count: spans.count), target: [0, 0]),
        record: record, spans: spans)
    }
    let windows = [
      window(0, [nil, 0..<2, 3..<5]), window(0, [nil, 3..<5, 6..<8]), window(1, [nil, 0..<1]),
    ]
    let contexts = ["äb cd ef", "x"]
    let starts: [[Float]] = [[5, 1, 2], [0, 4, 1], [3, 1]]
    let ends: [[Float]] = [[5, 1, 2], [0, 0, 4], [3, 1]]
    var search = AnswerSearch()
    #expect(
      search.answers(windows, starts: starts, ends: ends, contexts: contexts) == ["cd ef", "x"])
    search.longest = 1
    #expect(
      search.answers(windows, starts: starts, ends: ends, contexts: contexts)[0] == "ef")
    search = AnswerSearch()
    search.allowsNone = true
    // Of several windows the lowest score of no answer counts.
    #expect(
      search.answers(windows, starts: starts, ends: ends, contexts: contexts) == ["cd ef", ""])
  }
}

import Models
import Testing
import Training

/// Figures of classifications.
@Suite struct ClassificationFiguresTests {
  @Test func oneClassOfThree() {
    // Answers 0, 0, 2, 1 for 0, 1, 2, 1.
    let figures = ClassificationFigures(
      scores: [[3, 1, 2], [5, 4, 1], [0, 1, 2], [-2, -1, -3]], targets: [[0], [1], [2], [1]],
      problem: .singleLabel)
    #expect(figures.accuracy == 0.75)
    // By class 2/3, 2/3 and 1.
    #expect(figures.f1PerClass.map { ($0 * 1000).rounded() } == [667, 667, 1000])
    #expect(abs((figures.f1 ?? 0) - 7.0 / 9) < 1e-12)
    #expect(figures.all.map(\.name) == ["accuracy", "f1"])
  }

  @Test func aClassThatNeverOccursDoesNotCount() {
    let figures = ClassificationFigures(
      scores: [[1, 0, -9], [0, 1, -9]], targets: [[0], [1]], problem: .singleLabel)
    #expect(figures.f1 == 1)
    #expect(figures.f1PerClass == [1, 1, 0])
  }

  @Test func severalClasses() {
    let figures = ClassificationFigures(
      scores: [[1, -1], [1, 1], [-1, -1]], targets: [[1, 0], [1, 0], [0, 0]], problem: .multiLabel)
    #expect(abs((figures.accuracy ?? 0) - 2.0 / 3) < 1e-12)
    #expect(figures.f1PerClass == [1, 0])
    #expect(figures.f1 == 0.5)
  }

  @Test func numbers() {
    let figures = ClassificationFigures(
      scores: [[1], [2], [4]], targets: [[1], [3], [5]], problem: .regression)
    #expect(abs((figures.squaredError ?? 0) - 2.0 / 3) < 1e-12)
    #expect(abs((figures.correlation ?? 0) - 0.98198) < 1e-5)
    #expect(figures.accuracy == nil)
    let constant = ClassificationFigures(
      scores: [[1], [1]], targets: [[1], [2]], problem: .regression)
    #expect(constant.correlation == nil)
  }
}

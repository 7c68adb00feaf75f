public import Models

/// How right a classification is.
///
/// - One right class: the share of rows whose highest score is that of the right class, and F1.
/// - Several: the share of rows of which every class is right, where a score above zero says yes, and F1.
/// - Numbers: the mean squared error, and Pearson's correlation of the first output.
///
/// F1 of a class is 2 TP / (2 TP + FP + FN); what is reported is the mean over all classes that occur as
/// an answer or as what is right, each with the same weight ("macro").
public struct ClassificationFigures: Equatable, Sendable {
  /// Share of rows that are right; nil for numbers.
  public private(set) var accuracy: Double?
  /// Mean F1 of the classes; nil for numbers.
  public private(set) var f1: Double?
  /// F1 of each class; zero for one that never occurs.
  public private(set) var f1PerClass: [Double] = []
  /// Mean squared error of numbers.
  public private(set) var squaredError: Double?
  /// Pearson's correlation; nil where either side is constant.
  public private(set) var correlation: Double?

  /// Compares.
  ///
  /// - Parameters:
  ///   - scores: Outputs of each row.
  ///   - targets: What is right for each row: the number of a class, 1 or 0 for each class, or numbers.
  ///   - problem: How both are meant.
  public init(scores: [[Double]], targets: [[Double]], problem: ProblemType) {
    precondition(scores.count == targets.count, "ClassificationFigures: \(scores.count) rows")
    let rows = Double(max(scores.count, 1))
    switch problem {
    case .regression:
      var sum = 0.0
      for (row, right) in zip(scores, targets) {
        let errors = zip(row, right).map { ($0 - $1) * ($0 - $1) }
        sum += errors.reduce(0, +) / Double(max(errors.count, 1))
      }
      squaredError = sum / rows
      correlation = Self.correlation(scores.compactMap(\.first), targets.compactMap(\.first))
    case .singleLabel, .multiLabel:
      let isSingle = problem == .singleLabel
      let answers = scores.map { row in
        isSingle
          ? Set([row.indices.max { row[$0] < row[$1] || (row[$0] == row[$1] && $0 > $1) } ?? 0])
          : Set(row.indices.filter { row[$0] > 0 })
      }
      let rights = targets.map { right in
        isSingle
          ? Set(right.prefix(1).map { Int($0) }) : Set(right.indices.filter { right[$0] > 0.5 })
      }
      accuracy = Double(zip(answers, rights).count { $0 == $1 }) / rows
      let classes = scores.first?.count ?? 0
      var (figures, count) = ([Double](), 0)
      for number in 0..<classes {
        let found = zip(answers, rights).map { ($0.contains(number), $1.contains(number)) }
        let both = Double(found.count { $0 && $1 })
        let either = Double(found.count { $0 != $1 })
        if both + either > 0 { count += 1 }
        figures.append(both + either > 0 ? 2 * both / (2 * both + either) : 0)
      }
      f1PerClass = figures
      f1 = figures.reduce(0, +) / Double(max(count, 1))
    }
  }

  /// Names and figures.
  public var all: [(name: String, value: Double)] {
    [("accuracy", accuracy), ("f1", f1), ("mse", squaredError), ("pearson", correlation)]
      .compactMap { name, value in value.map { (name, $0) } }
  }

  private static func correlation(_ left: [Double], _ right: [Double]) -> Double? {
    let count = Double(max(left.count, 1))
    let (a, b) = (left.reduce(0, +) / count, right.reduce(0, +) / count)
    var (both, ones, others) = (0.0, 0.0, 0.0)
    for (x, y) in zip(left, right) {
      both += (x - a) * (y - b)
      ones += (x - a) * (x - a)
      others += (y - b) * (y - b)
    }
    return ones > 0 && others > 0 ? both / (ones * others).squareRoot() : nil
  }
}

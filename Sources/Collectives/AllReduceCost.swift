/// What an all-reduce takes, as two numbers of a network say.
///
/// A ring of N processes sends 2 (N - 1) messages one after another, each of 1 / N of the bytes:
/// t = 2 (N - 1) (latency + bytes / (N bandwidth)).
///
/// - Note: Source: Patarasuk and Yuan 2009, Bandwidth optimal all-reduce algorithms for clusters of workstations.
public struct AllReduceCost: Equatable, Sendable {
  /// One that was measured.
  public struct Sample: Equatable, Sendable {
    /// Processes that took part.
    public var processes: Int
    /// Bytes that each had.
    public var bytes: Int
    /// Seconds that it took.
    public var seconds: Double

    /// Notes a measurement.
    ///
    /// - Parameters:
    ///   - processes: Processes that took part, at least 2.
    ///   - bytes: Bytes that each had.
    ///   - seconds: Seconds that it took, more than 0.
    public init(processes: Int, bytes: Int, seconds: Double) {
      (self.processes, self.bytes, self.seconds) = (processes, bytes, seconds)
    }
  }

  /// Seconds of a message of no length.
  public var latency: Double
  /// Seconds of a byte.
  public var secondsPerByte: Double

  /// Takes known numbers.
  ///
  /// - Parameters:
  ///   - latency: Seconds of a message of no length.
  ///   - secondsPerByte: Seconds of a byte.
  public init(latency: Double, secondsPerByte: Double) {
    (self.latency, self.secondsPerByte) = (latency, secondsPerByte)
  }

  /// Fits both numbers, neither below 0, so that the sum of squared relative errors is least.
  ///
  /// Nil where the measurements do not tell the two apart: all of one size and number of processes.
  ///
  /// - Parameter samples: Measurements.
  public init?(fitting samples: [Sample]) {
    // 1 = latency a + secondsPerByte b for each sample, with a and b its factors over its time.
    var (aa, ab, bb, a, b) = (0.0, 0.0, 0.0, 0.0, 0.0)
    for sample in samples where sample.processes > 1 && sample.seconds > 0 {
      let (messages, bytes) = Self.factors(sample.bytes, sample.processes)
      let (x, y) = (messages / sample.seconds, bytes / sample.seconds)
      (aa, ab, bb, a, b) = (aa + x * x, ab + x * y, bb + y * y, a + x, b + y)
    }
    let determinant = aa * bb - ab * ab
    guard aa > 0, bb > 0, determinant > 1e-9 * aa * bb else { return nil }
    latency = (a * bb - b * ab) / determinant
    secondsPerByte = (b * aa - a * ab) / determinant
    if latency < 0 { (latency, secondsPerByte) = (0, b / bb) }
    if secondsPerByte < 0 { (latency, secondsPerByte) = (a / aa, 0) }
  }

  /// What it takes.
  ///
  /// - Parameters:
  ///   - bytes: Bytes that each process has.
  ///   - processes: Processes that take part.
  /// - Returns: Seconds; 0 for one process.
  public func seconds(bytes: Int, processes: Int) -> Double {
    let factors = Self.factors(bytes, processes)
    return latency * factors.messages + secondsPerByte * factors.bytes
  }

  /// How far it is from measurements.
  ///
  /// - Parameter samples: Measurements.
  /// - Returns: The largest relative error.
  public func worstError(of samples: [Sample]) -> Double {
    samples.map {
      abs(seconds(bytes: $0.bytes, processes: $0.processes) / $0.seconds - 1)
    }.max() ?? 0
  }

  private static func factors(
    _ bytes: Int, _ processes: Int
  ) -> (messages: Double, bytes: Double) {
    let messages = 2 * Double(max(0, processes - 1))
    return (messages, messages / Double(max(1, processes)) * Double(bytes))
  }
}

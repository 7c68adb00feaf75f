import CommandLineParsing
import Foundation

/// The all-reduces that a plan needs: from files, or measured between processes of this machine.
enum NetworkTrials {
  /// Numbers of processes that are measured where no file is given.
  private static let counts = [2, 3, 4]

  /// Reads or measures.
  ///
  /// - Parameters:
  ///   - files: Paths with commas; nil for measuring.
  ///   - directory: A directory to write into.
  /// - Returns: The measurements.
  /// - Throws: What reading throws, ``RecipeError`` with the last words of a measurement that failed.
  static func figures(_ files: String?, directory: String) throws -> NetworkFigures {
    if let files {
      return try NetworkFigures(reading: files.split(separator: ",").map(String.init))
    }
    return try NetworkFigures(
      reading: counts.map { count in
        let path = "\(directory)/network-\(count).json"
        try OwnProcess.run(
          ["launch", "--processes", "\(count)", "--", "network", "--output", path], output: path)
        return path
      })
  }
}

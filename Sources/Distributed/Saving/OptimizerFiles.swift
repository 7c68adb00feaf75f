import Checkpoints

/// The files of a checkpoint that hold the optimiser's state.
///
/// One process writes all of it to `optimizer.safetensors`. Processes that share it out write a file each,
/// `optimizer-00001-of-00003.safetensors` and so on (``OptimizerShares``), beside an
/// `optimizer.safetensors` with what they do not share out, whose metadata says how many there are.
public enum OptimizerFiles {
  /// The file that is there in any case.
  public static let common = "optimizer.safetensors"

  /// The file of one process.
  ///
  /// - Parameters:
  ///   - rank: The process, from 0; names count from 1.
  ///   - size: Processes of the run.
  /// - Returns: Its name.
  public static func share(_ rank: Int, of size: Int) -> String {
    ShardedSafetensorsWriter.fileName(stem: stem, rank, of: size)
  }

  /// Whether a file is one of those of the optimiser's state.
  ///
  /// - Parameter name: A file's name without its directory.
  /// - Returns: Whether it is ``common`` or looks like a share, whatever its numbers.
  public static func contains(_ name: String) -> Bool { name == common || isShare(name) }

  static func isShare(_ name: String) -> Bool {
    name.hasPrefix(stem + "-") && name.hasSuffix(".safetensors")
  }

  /// What the common file says of its shares.
  ///
  /// - Parameter size: Processes that write one each.
  /// - Returns: Metadata of a safetensors file.
  public static func commonMetadata(shares size: Int) -> [(key: String, value: String)] {
    [("format", "pt"), (sharesKey, "\(size)")]
  }

  static let stem = "optimizer"
  /// Metadata: how many shares there are.
  static let sharesKey = "shares"
  /// Metadata of a share: its number, from 1.
  static let shareKey = "share"
  /// Metadata of a share: shapes of the whole parameters that it has slices of, as JSON.
  static let shapesKey = "shapes"
}

/// News of a download.
public enum HubProgress: Sendable, Equatable {
  /// The files are known; `bytes` is their size, where the server says it.
  case planned(model: String, files: Int, bytes: Int)
  /// So many bytes of a file are here.
  case received(file: String, bytes: Int)
  /// A file is whole, checked and in its place.
  case finished(file: String)
  /// Another program fetches the same file.
  case waiting(file: String)
  /// An attempt failed, and is made again after a while.
  case retrying(file: String, reason: String, seconds: Double)
  /// Something the user should know.
  case note(String)
}

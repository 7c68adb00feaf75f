import CCrypto

/// A checksum of bytes that come piece by piece.
package final class MessageDigest {
  /// Which checksum.
  package enum Algorithm: Sendable {
    case sha1
    case sha256
  }

  private let context: OpaquePointer

  /// Starts a checksum; nil where libcrypto does not offer the algorithm.
  package init?(_ algorithm: Algorithm) {
    guard let context = EVP_MD_CTX_new() else { return nil }
    let type = algorithm == .sha1 ? EVP_sha1() : EVP_sha256()
    guard EVP_DigestInit_ex(context, type, nil) == 1 else {
      EVP_MD_CTX_free(context)
      return nil
    }
    self.context = context
  }

  deinit { EVP_MD_CTX_free(context) }

  /// Takes in the next bytes.
  package func update(_ bytes: UnsafeRawBufferPointer) {
    guard let base = bytes.baseAddress, bytes.count > 0 else { return }
    EVP_DigestUpdate(context, base, bytes.count)
  }

  /// The checksum in hexadecimal digits of lower case; nothing can be taken in afterwards.
  package func finish() -> String {
    var digest = [UInt8](repeating: 0, count: Int(EVP_MAX_MD_SIZE))
    var count: UInt32 = 0
    guard EVP_DigestFinal_ex(context, &digest, &count) == 1 else { return "" }
    let digits = Array("0123456789abcdef")
    return String(
      digest.prefix(Int(count)).flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] })
  }
}

import Foundation
import GraftCommands

exit(GraftCommand.run(Array(CommandLine.arguments.dropFirst())))

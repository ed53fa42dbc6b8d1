from services.console.main import cli

cli()
